//! A file system of a few MiB that can be filled and freed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::repository;
use crate::skip::{Missing, Need};
use crate::wait;

const ENDING: Duration = Duration::from_secs(10);

/// `$1` MiB, `$2` folder: mounts, waits for the end of its input, unmounts, even if files are still open there.
const MOUNTED: &str = r#"mount -t tmpfs -o "size=$1m,mode=777" tmpfs "$2" || exit 1
echo mounted
read -r _
umount -l "$2""#;

/// What the file system is filled with, beside the folder for use.
const BALLAST: &str = "ballast";

/// A small file system in memory; gone when dropped, or when this process is gone.
///
/// As root it is mounted for everybody. Otherwise it is in a mount namespace of its own, which other processes see only
/// when they are started through [`wrapper`](Self::wrapper).
#[derive(Debug)]
pub struct Small {
    // Before the folder: it must be unmounted when the folder goes.
    keeper: Keeper,
    mount: PathBuf,
    is_private: bool,
    _folder: TempDir,
}

/// The shell that holds the mount.
#[derive(Debug)]
struct Keeper(Child);

impl Small {
    /// A file system of so many MiB.
    ///
    /// # Errors
    /// [`Missing`] if nothing can be mounted here.
    pub fn new(mib: u32) -> Result<Self, Missing> {
        Self::shared(mib).or_else(|_| Self::private(mib))
    }

    /// The same, seen by every process: only root may.
    ///
    /// # Errors
    /// [`Missing`] if it may not be mounted.
    pub fn shared(mib: u32) -> Result<Self, Missing> {
        Self::mount(mib, false)
    }

    /// The same, in a namespace of its own: most systems let every user.
    ///
    /// # Errors
    /// [`Missing`] if it may not be mounted.
    pub fn private(mib: u32) -> Result<Self, Missing> {
        Self::mount(mib, true)
    }

    fn mount(mib: u32, is_private: bool) -> Result<Self, Missing> {
        let folder = TempDir::with_prefix("engine-disk-").expect("a temporary folder");
        let mount = folder.path().join("disk");
        fs::create_dir(&mount).expect("a temporary folder is writable");
        let mut command = if is_private {
            // Without a fork: the process in the namespaces is the one that we start.
            let mut unshare = Command::new("unshare");
            unshare.args(["--user", "--map-root-user", "--mount", "sh"]);
            unshare
        } else {
            Command::new("sh")
        };
        command
            .args(["-c", MOUNTED, "keeper", &mib.to_string()])
            .arg(&mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Not ended with the test by a signal from the keyboard: it still has to unmount.
            .process_group(0);
        let missing = |said: &str| {
            let sentence = format!(
                "no file system of our own can be mounted ({}): run the tests as root, in a container with \
                 CAP_SYS_ADMIN, or where users may have namespaces",
                said.trim()
            );
            Missing::new(Need::Mounts, sentence)
        };
        let mut keeper = match command.spawn() {
            Ok(keeper) => Keeper(keeper),
            Err(error) => return Err(missing(&error.to_string())),
        };
        let mut said = String::new();
        let stdout = keeper.0.stdout.take().expect("a pipe");
        drop(BufReader::new(stdout).read_line(&mut said));
        if said != "mounted\n" {
            if let Some(mut stderr) = keeper.0.stderr.take() {
                drop(stderr.read_to_string(&mut said));
            }
            return Err(missing(&said));
        }
        let small = Self {
            keeper,
            mount,
            is_private,
            _folder: folder,
        };
        fs::create_dir(small.reach("warehouse")).expect("the new file system is writable");
        Ok(small)
    }

    /// An empty folder of the file system, as processes see it that are started through [`wrapper`](Self::wrapper).
    pub fn folder(&self) -> PathBuf {
        self.mount.join("warehouse")
    }

    /// The same folder as this process reaches it.
    pub fn reached(&self) -> PathBuf {
        self.reach("warehouse")
    }

    /// Words before a command that has to see the file system; none if everybody does. For
    /// [`Engine::under`](crate::engine::Engine::under): the command starts in the clone's root.
    pub fn wrapper(&self) -> Vec<String> {
        if !self.is_private {
            return Vec::new();
        }
        let target = self.keeper.0.id().to_string();
        // Entering a mount namespace changes the working folder.
        let go_back = r#"cd "$0" && exec "$@""#;
        let root = repository::root().display().to_string();
        [
            "nsenter",
            "--preserve-credentials",
            "--user",
            "--mount",
            "--target",
            &target,
            "sh",
            "-c",
            go_back,
            &root,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Takes all the space that is left. Returns the bytes that it took.
    pub fn fill(&self) -> u64 {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.reach(BALLAST))
            .expect("a file of ours");
        let mut taken = 0;
        let zeros = [0; 4096];
        loop {
            match ballast.write(&zeros) {
                Ok(bytes) => taken += bytes as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => return taken,
                Err(error) => panic!("cannot fill the disk: {error}"),
            }
        }
    }

    /// Gives back what [`fill`](Self::fill) took.
    pub fn free(&self) {
        match fs::remove_file(self.reach(BALLAST)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => panic!("cannot free the disk: {error}"),
        }
    }

    fn reach(&self, name: &str) -> PathBuf {
        if !self.is_private {
            return self.mount.join(name);
        }
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.0.id()));
        let inside = self.mount.strip_prefix("/").unwrap_or(Path::new(""));
        root.join(inside).join(name)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The end of its input lets it unmount.
        drop(self.0.stdin.take());
        if wait::until(ENDING, || self.0.try_wait().ok().flatten()).is_none() {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}
