//! The operation of a change.

/// What happened to a row. The letters are Debezium's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// `c`: inserted.
    Create,
    /// `r`: read by a snapshot.
    Read,
    /// `u`: updated.
    Update,
    /// `d`: deleted.
    Delete,
    /// `t`: the whole table was emptied. Has no key and no row.
    Truncate,
}

impl Op {
    /// Every operation, in the order in which reports print them.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Truncate,
    ];

    /// Debezium's letter, as in `_op`.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Create => "c",
            Self::Read => "r",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Truncate => "t",
        }
    }

    /// The operation of a letter; `None` for anything that is not a row's change.
    pub fn from_letter(letter: &[u8]) -> Option<Self> {
        match letter {
            b"c" => Some(Self::Create),
            b"r" => Some(Self::Read),
            b"u" => Some(Self::Update),
            b"d" => Some(Self::Delete),
            b"t" => Some(Self::Truncate),
            _ => None,
        }
    }

    /// Delta's word for the image that a row of this operation carries, as in `_change_type`.
    pub fn change_type(self) -> Option<&'static str> {
        match self {
            Self::Create | Self::Read => Some("insert"),
            Self::Update => Some("update_postimage"),
            Self::Delete => Some("delete"),
            Self::Truncate => None,
        }
    }

    /// Whether the row carries an image of the row after the change.
    pub fn has_image(self) -> bool {
        matches!(self, Self::Create | Self::Read | Self::Update)
    }
}
