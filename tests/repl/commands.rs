//! Backslash commands and their help.

use std::time::Duration;

use sql::repl::{Command, command_names, help};

#[test]
fn commands_are_read_with_what_follows_them() {
    let text = |text: &str| Some(text.to_owned());
    for (line, expected) in [
        ("\\d", Command::Tables),
        ("\\d ;", Command::Tables),
        ("\\d a.b", Command::Describe("a.b".to_owned())),
        (
            "\\d  \"My Table\" ;",
            Command::Describe("\"My Table\"".to_owned()),
        ),
        ("\\df", Command::Functions(None)),
        ("\\df concat", Command::Functions(text("concat"))),
        ("\\watch", Command::Watch(Duration::from_secs(2))),
        ("\\watch 0.5", Command::Watch(Duration::from_millis(500))),
        ("\\timing", Command::Timing(None)),
        ("\\timing on", Command::Timing(Some(true))),
        ("\\x off", Command::Expanded(Some(false))),
        ("\\format json", Command::Format(text("json"))),
        ("\\format", Command::Format(None)),
        ("\\o", Command::Output(None)),
        ("\\o a file.csv", Command::Output(text("a file.csv"))),
        ("\\i script.sql", Command::Include("script.sql".to_owned())),
        ("\\refresh", Command::Refresh),
        ("\\?", Command::Help),
        ("\\h", Command::Help),
        ("\\q", Command::Quit),
    ] {
        assert_eq!(Command::parse(line).unwrap(), expected, "{line}");
    }
}

#[test]
fn what_is_no_command_is_refused_with_what_would_be() {
    for (line, says, expected, next) in [
        ("\\dg", "there is no command \\dg", "", "did you mean \\df?"),
        (
            "\\nonsense",
            "there is no command \\nonsense",
            "",
            "see \\?",
        ),
        (
            "\\timng on",
            "there is no command \\timng",
            "",
            "did you mean \\timing?",
        ),
        ("\\", "there is no command \\", "", "see \\?"),
        (
            "\\i",
            "\\i needs more",
            "\\i FILE: run the statements",
            "see \\?",
        ),
        (
            "\\timing perhaps",
            "\\timing does not take `perhaps`",
            "\\timing [on|off]",
            "see \\?",
        ),
        (
            "\\watch 0",
            "\\watch does not take `0`",
            "\\watch [SECONDS]",
            "see \\?",
        ),
        (
            "\\watch -1",
            "\\watch does not take `-1`",
            "\\watch [SECONDS]",
            "see \\?",
        ),
        (
            "\\watch NaN",
            "\\watch does not take `NaN`",
            "\\watch [SECONDS]",
            "see \\?",
        ),
        (
            "\\q now",
            "\\q does not take `now`",
            "\\q: leave",
            "see \\?",
        ),
    ] {
        let error = Command::parse(line).unwrap_err();
        assert_eq!(error.message(), says, "{line}");
        assert!(error.to_string().contains(expected), "{line}: {error}");
        assert!(
            error.next_step().unwrap().contains(next),
            "{line}: {:?}",
            error.next_step()
        );
    }
}

#[test]
fn the_help_has_a_line_for_each_command() {
    let help = help();
    for name in command_names() {
        let lines = help.lines().filter(|line| {
            let left = line.trim_start().split("  ").next().unwrap_or_default();
            left.split([' ', ',']).any(|word| word == name)
        });
        assert_eq!(lines.count(), 1, "{name} in\n{help}");
    }
    assert!(help.lines().all(|line| line.len() <= 110), "{help}");
}
