//! Values that are one word, number or flag.
//!
//! Text stands for a number or a flag where one is wanted: it may have come from a variable.

use std::net::IpAddr;

use text::units;

use super::{Node, Normalise, Value, Wanted, What, absolute, port};
use crate::schema::Scalar;

/// Why a value is not of its shape.
enum Wrong {
    Type(Wanted),
    Value(String),
}

impl Wrong {
    fn value(why: impl std::fmt::Display) -> Self {
        Self::Value(why.to_string())
    }
}

impl Normalise<'_> {
    pub(super) fn scalar(&mut self, node: Node, scalar: Scalar, what: What<'_>) -> Node {
        match self.converted(&node, scalar) {
            Ok(value) => Node { value, ..node },
            Err(Wrong::Type(wanted)) => self.wrong_type(&node, what, wanted),
            Err(Wrong::Value(why)) => self.invalid(&node, what, why),
        }
    }

    fn converted(&mut self, node: &Node, scalar: Scalar) -> Result<Value, Wrong> {
        let text = || node.as_text().ok_or(Wrong::Type(Wanted::Text));
        match scalar {
            Scalar::Text => text().map(|text| Value::Text(text.to_owned())),
            Scalar::Quantity => quantity(node, Wanted::Text).map(Value::Text),
            Scalar::Word => node
                .scalar()
                .map(Value::Text)
                .ok_or(Wrong::Type(Wanted::Text)),
            Scalar::Flag => flag(node),
            Scalar::Whole(least, most) => whole(node, least, most),
            Scalar::Number => number(node),
            Scalar::Duration => duration(node),
            Scalar::Bytes | Scalar::Swap => bytes(node, matches!(scalar, Scalar::Swap)),
            Scalar::Mode => mode(node),
            Scalar::Devices => match node.as_text() {
                Some(text) if text.eq_ignore_ascii_case("all") => Ok(Value::Integer(-1)),
                Some(_) | None => whole(node, i64::MIN, i64::MAX),
            },
            Scalar::Path => self.path(text()?).map(Value::Text),
            Scalar::Context => {
                let text = text()?;
                match is_fetched(text) {
                    true => Ok(Value::Text(text.to_owned())),
                    false => self.path(text).map(Value::Text),
                }
            }
            Scalar::Published => match quantity(node, Wanted::Number)?.as_str() {
                any @ ("" | "0") => Ok(Value::Text(any.to_owned())),
                text => port::range(text)
                    .map(|_| Value::Text(text.to_owned()))
                    .map_err(Wrong::value),
            },
            Scalar::Exposed => {
                let text = quantity(node, Wanted::Number)?;
                let ports = port::exposed(&text).map_err(Wrong::value)?;
                match self.afford(node, ports) {
                    true => Ok(Value::Text(text)),
                    false => Ok(Value::Broken),
                }
            }
            Scalar::Address => {
                let text = text()?;
                let address: Result<IpAddr, _> = text.parse();
                let why = "it is no IP address; `host_ip` is one of this machine";
                address.map_err(|_| Wrong::value(why))?;
                Ok(Value::Text(text.to_owned()))
            }
            Scalar::Like(is, help) => match text()? {
                text if is(text) => Ok(Value::Text(text.to_owned())),
                _ => Err(Wrong::value(help)),
            },
            Scalar::Choice(words) => {
                let text = text()?;
                if words.contains(&text) {
                    return Ok(Value::Text(text.to_owned()));
                }
                let close = self.findings.did_you_mean(text, words.iter().copied());
                Err(Wrong::Value(close.unwrap_or_else(|| choice_help(words))))
            }
        }
    }

    /// A path of this machine, from the folder of the file or from the home folder.
    fn path(&self, path: &str) -> Result<String, Wrong> {
        let base = &self.scope.directory;
        let absolute = match path.strip_prefix('~') {
            None if path.is_empty() => return Err(Wrong::value("write the path here")),
            None => absolute(base, path),
            Some(below) if below.is_empty() || below.starts_with('/') => {
                let home = self.scope.environment.get("HOME");
                let home = home.ok_or_else(|| Wrong::value("the variable HOME is not set"))?;
                absolute(home.as_ref(), below.trim_start_matches('/'))
            }
            Some(_) => return Err(Wrong::value("only ~/ is known, not ~NAME")),
        };
        Ok(absolute.to_string_lossy().into_owned())
    }
}

/// `it is one of a, b`.
pub(crate) fn choice_help(words: &[&str]) -> String {
    format!("it is one of {}", words.join(", "))
}

/// Whether a folder to build from is no folder of this machine.
fn is_fetched(context: &str) -> bool {
    let schemes = ["git@", "github.com/", "service:", "target:"];
    context.contains("://") || schemes.iter().any(|scheme| context.starts_with(scheme))
}

/// A number or text, as text.
fn quantity(node: &Node, wanted: Wanted) -> Result<String, Wrong> {
    let scalar = node.scalar();
    let scalar = scalar.filter(|_| !matches!(node.value, Value::Flag(_)));
    scalar.ok_or(Wrong::Type(wanted))
}

fn flag(node: &Node) -> Result<Value, Wrong> {
    let scalar = node.scalar().unwrap_or_default();
    match scalar.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" => Ok(Value::Flag(true)),
        "false" | "no" | "n" | "off" => Ok(Value::Flag(false)),
        _ => Err(Wrong::Type(Wanted::Flag)),
    }
}

fn whole(node: &Node, least: i64, most: i64) -> Result<Value, Wrong> {
    let text = quantity(node, Wanted::WholeNumber)?;
    let number: i128 = text
        .trim()
        .parse()
        .map_err(|_| Wrong::Type(Wanted::WholeNumber))?;
    if number < i128::from(least) {
        return Err(Wrong::Value(format!("it cannot be below {least}")));
    }
    if number > i128::from(most) {
        return Err(Wrong::Value(match most {
            i64::MAX => "it is too large".to_owned(),
            most => format!("it cannot be above {most}"),
        }));
    }
    Ok(Value::Integer(number))
}

fn number(node: &Node) -> Result<Value, Wrong> {
    match &node.value {
        Value::Integer(_) | Value::Float(_) => Ok(node.value.clone()),
        Value::Text(text) => match text::yaml::plain(text.trim()) {
            value @ (Value::Integer(_) | Value::Float(_)) => Ok(value),
            Value::Null
            | Value::Flag(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Mapping(_)
            | Value::Broken => Err(Wrong::Type(Wanted::Number)),
        },
        Value::Null | Value::Flag(_) | Value::List(_) | Value::Mapping(_) | Value::Broken => {
            Err(Wrong::Type(Wanted::Number))
        }
    }
}

fn duration(node: &Node) -> Result<Value, Wrong> {
    if let Value::Integer(_) = node.value {
        return Err(Wrong::value(units::InvalidQuantity::Unitless));
    }
    let text = node.as_text().ok_or(Wrong::Type(Wanted::Text))?;
    let duration = units::duration(text).map_err(Wrong::value)?;
    Ok(Value::Text(units::duration_text(duration)))
}

/// Bytes in digits; with `unlimited`, -1 as well.
fn bytes(node: &Node, unlimited: bool) -> Result<Value, Wrong> {
    let text = quantity(node, Wanted::Number)?;
    if unlimited && text == "-1" {
        return Ok(Value::Text(text));
    }
    let bytes = units::bytes(&text).map_err(Wrong::value)?;
    Ok(Value::Text(bytes.to_string()))
}

/// Permission bits, as octal digits.
fn mode(node: &Node) -> Result<Value, Wrong> {
    let bits = match (&node.value, node.as_text()) {
        (Value::Integer(bits), _) => u32::try_from(*bits).ok(),
        (_, Some(text)) => octal(text),
        (_, None) => return Err(Wrong::Type(Wanted::Number)),
    };
    let bits = bits.ok_or_else(|| Wrong::value("it is permission bits in octal, such as 0444"))?;
    Ok(Value::Text(format!("{bits:04o}")))
}

/// Permission bits from octal digits.
pub(crate) fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim_start_matches("0o"), 8).ok()
}
