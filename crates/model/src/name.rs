//! Names and numbers of things: one type each, cheap to clone, valid once made.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

/// A text that is no valid name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {text:?} is not valid: {rule}")]
pub struct InvalidName {
    /// What was to be named.
    pub kind: &'static str,
    /// The text as given.
    pub text: String,
    /// What a valid name looks like.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            #[doc = concat!("Accepts ", $rule, ".")]
            ///
            /// # Errors
            /// [`InvalidName`] with the rule in words.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    return Ok(Self(text.into()));
                }
                Err(InvalidName { kind: $kind, text: text.to_owned(), rule: $rule })
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($type), self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of an app; a DNS label, since services answer as `SERVICE.APP.localhost`.
    AppName,
    "app",
    "1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit (compose-spec, `name`)",
    |text| within(text, 63)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
        && first_is_alphanumeric(text)
);
name!(
    /// The name of a service, unique in its app.
    ServiceName,
    "service",
    "1 to 63 of a-z, A-Z, 0-9, ., - and _, beginning with a letter or digit",
    |text| within(text, 63) && text.bytes().all(name_byte) && first_is_alphanumeric(text)
);
name!(
    /// The name of a Compose network: services that share one may call each other.
    NetworkName,
    "network",
    "1 to 255 of a-z, A-Z, 0-9, ., - and _",
    |text| within(text, 255) && text.bytes().all(name_byte)
);
name!(
    /// The name of a volume, unique in its app.
    VolumeName,
    "volume",
    "1 to 255 of a-z, A-Z, 0-9, ., - and _, beginning with a letter or digit",
    |text| within(text, 255) && text.bytes().all(name_byte) && first_is_alphanumeric(text)
);
name!(
    /// The team that answers for a service.
    Owner,
    "owner",
    "1 to 255 printable characters",
    |text| within(text, 255) && !text.chars().any(char::is_control)
);

fn within(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max
}

fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

fn first_is_alphanumeric(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric())
}

/// The number of a revision: an immutable Spec of one service. The first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub NonZeroU32);

impl Revision {
    /// The first revision of a service.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// One running copy of a revision. The number is never used twice while its app is up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The app it belongs to.
    pub app: AppName,
    /// The service that it is a copy of.
    pub service: ServiceName,
    /// Which copy, counted from 1 within the service.
    pub number: u32,
}

impl InstanceId {
    /// Reads `APP/SERVICE/NUMBER`, as `Display` writes it.
    ///
    /// # Errors
    /// [`InvalidName`] when a part is missing or not valid.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName {
            kind: "instance",
            text: text.to_owned(),
            rule: "APP/SERVICE/NUMBER",
        };
        let (rest, number) = text.rsplit_once('/').ok_or_else(invalid)?;
        let (app, service) = rest.split_once('/').ok_or_else(invalid)?;
        Ok(Self {
            app: AppName::new(app)?,
            service: ServiceName::new(service)?,
            number: number.parse().map_err(|_| invalid())?,
        })
    }

    /// The short form that people read within one app: `rng-3`.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}-{}", self.service, self.number)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.app, self.service, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_of_their_kind() {
        for (text, valid) in [
            ("coins", true),
            ("a-b_c1", true),
            ("", false),
            ("Coins", false),
            ("-a", false),
            ("a.b", false),
        ] {
            assert_eq!(AppName::new(text).is_ok(), valid, "{text:?}");
        }
        for (text, valid) in [
            ("web.v2", true),
            ("Web", true),
            ("", false),
            ("a/b", false),
            ("a b", false),
            (".a", false),
        ] {
            assert_eq!(ServiceName::new(text).is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn an_instance_id_reads_back_what_it_prints() {
        let id = InstanceId {
            app: AppName::new("coins").unwrap(),
            service: ServiceName::new("rng.a").unwrap(),
            number: 12,
        };
        assert_eq!(InstanceId::parse(&id.to_string()), Ok(id));
        assert!(InstanceId::parse("coins/rng").is_err());
        assert!(InstanceId::parse("coins/rng/-1").is_err());
    }
}
