//! What the store holds and what each command does to it; no socket, no clock.
//!
//! The bytes held are counted and bounded: a command that would pass the bound is refused and
//! changes nothing.

use std::collections::BTreeMap;

use crate::resp::{Reply, decimal};

/// The most bytes of keys, fields and values, before the cost of keeping them.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What one entry costs beside its bytes, roughly.
const ENTRY_BYTES: usize = 96;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const NOT_AN_INTEGER: &str = "value is not an integer or out of range";

/// The keys and their values.
#[derive(Debug, Default)]
pub(crate) struct Keyspace {
    entries: BTreeMap<Vec<u8>, Value>,
    held_bytes: usize,
}

#[derive(Debug)]
enum Value {
    Text(Vec<u8>),
    Hash(Fields),
}

/// An answer, and whether the connection goes on after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answer(Reply),
    /// The client said goodbye.
    Last(Reply),
}

type Words = [Vec<u8>];
type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

impl Value {
    fn held_bytes(&self) -> usize {
        match self {
            Self::Text(text) => ENTRY_BYTES + text.len(),
            Self::Hash(fields) => fields
                .iter()
                .map(|(field, value)| ENTRY_BYTES + field.len() + value.len())
                .sum(),
        }
    }
}

impl Keyspace {
    /// Carries out one command; `words` is its name and its arguments, at least the name.
    pub(crate) fn execute(&mut self, words: &Words) -> Outcome {
        let Some((name, arguments)) = words.split_first() else {
            return Outcome::Answer(Reply::error("empty command"));
        };
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        if name == "QUIT" {
            return Outcome::Last(Reply::ok());
        }
        Outcome::Answer(
            self.answer(&name, arguments)
                .unwrap_or_else(|refusal| refusal),
        )
    }

    /// `Err` is a refusal; both are answers to the client.
    fn answer(&mut self, name: &str, arguments: &Words) -> Result<Reply, Reply> {
        match (name, arguments) {
            ("PING", []) => Ok(Reply::Simple("PONG".to_owned())),
            ("PING" | "ECHO", [text]) => Ok(Reply::Bulk(text.clone())),
            ("SELECT", [index]) if index == b"0" => Ok(Reply::ok()),
            ("SELECT", [_]) => Err(Reply::error("DB index is out of range")),
            ("HELLO", []) => Ok(hello()),
            ("HELLO", [version, ..]) if version == b"2" => Ok(hello()),
            ("HELLO", _) => Err(Reply::Error(
                "NOPROTO unsupported protocol version".to_owned(),
            )),
            // What redis-cli and client libraries ask when they connect.
            ("COMMAND", _) => Ok(Reply::Array(Vec::new())),
            ("CLIENT", [_, ..]) => Ok(Reply::ok()),
            ("INFO", _) => Ok(Reply::Bulk(self.info().into_bytes())),
            ("DBSIZE", []) => Ok(count(self.entries.len())),
            ("FLUSHALL" | "FLUSHDB", []) => {
                *self = Self::default();
                Ok(Reply::ok())
            }
            ("KEYS", [pattern]) => Ok(self.keys(pattern)),
            ("EXISTS", [_, ..]) => Ok(count(arguments.iter().filter(|key| self.has(key)).count())),
            ("DEL", [_, ..]) => Ok(count(
                arguments.iter().filter(|key| self.remove(key)).count(),
            )),
            ("GET", [key]) => Ok(Reply::value(self.text(key)?)),
            ("SET", [key, value]) => self.set(key, value.clone()),
            ("INCR", [key]) => self.increment(key, 1),
            ("INCRBY", [key, by]) => self.increment(key, integer(by)?),
            ("HSET", [key, pairs @ ..]) if !pairs.is_empty() && pairs.len() % 2 == 0 => {
                self.set_fields(key, pairs)
            }
            ("HGET", [key, field]) => Ok(Reply::value(self.hash(key)?.and_then(|h| h.get(field)))),
            ("HLEN", [key]) => Ok(count(self.hash(key)?.map_or(0, Fields::len))),
            ("HGETALL", [key]) => Ok(all(self.hash(key)?)),
            (name, _) => Err(unsuitable(name)),
        }
    }

    fn has(&self, key: &Vec<u8>) -> bool {
        self.entries.contains_key(key)
    }

    fn remove(&mut self, key: &Vec<u8>) -> bool {
        let Some(value) = self.entries.remove(key) else {
            return false;
        };
        self.held_bytes -= key.len() + value.held_bytes();
        true
    }

    fn text(&self, key: &Vec<u8>) -> Result<Option<&Vec<u8>>, Reply> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Hash(_)) => Err(Reply::Error(WRONG_TYPE.to_owned())),
        }
    }

    fn hash(&self, key: &Vec<u8>) -> Result<Option<&Fields>, Reply> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Hash(fields)) => Ok(Some(fields)),
            Some(Value::Text(_)) => Err(Reply::Error(WRONG_TYPE.to_owned())),
        }
    }

    fn set(&mut self, key: &Vec<u8>, text: Vec<u8>) -> Result<Reply, Reply> {
        let value = Value::Text(text);
        self.reserve(key.len() + value.held_bytes())?;
        self.remove(key);
        self.held_bytes += key.len() + value.held_bytes();
        self.entries.insert(key.clone(), value);
        Ok(Reply::ok())
    }

    fn increment(&mut self, key: &Vec<u8>, by: i64) -> Result<Reply, Reply> {
        let before = self.text(key)?.map_or(Ok(0), |text| integer(text))?;
        let after = before
            .checked_add(by)
            .ok_or_else(|| Reply::error("increment or decrement would overflow"))?;
        self.set(key, after.to_string().into_bytes())?;
        Ok(Reply::Integer(after))
    }

    /// `pairs` are field, value, field, value.
    fn set_fields(&mut self, key: &Vec<u8>, pairs: &Words) -> Result<Reply, Reply> {
        let known = self.hash(key)?.is_some();
        let most: usize = pairs.iter().map(|word| ENTRY_BYTES + word.len()).sum();
        self.reserve(key.len() + most)?;
        if !known {
            self.held_bytes += key.len();
            self.entries.insert(key.clone(), Value::Hash(Fields::new()));
        }
        let Some(Value::Hash(fields)) = self.entries.get_mut(key) else {
            return Err(Reply::Error(WRONG_TYPE.to_owned()));
        };
        let mut new = 0;
        for pair in pairs.chunks_exact(2) {
            let [field, value] = pair else { continue };
            match fields.insert(field.clone(), value.clone()) {
                Some(old) => self.held_bytes -= old.len(),
                None => {
                    self.held_bytes += ENTRY_BYTES + field.len();
                    new += 1;
                }
            }
            self.held_bytes += value.len();
        }
        Ok(Reply::Integer(new))
    }

    fn reserve(&self, more: usize) -> Result<(), Reply> {
        if self.held_bytes + more > HELD_BYTES_MAX {
            return Err(Reply::Error(OUT_OF_MEMORY.to_owned()));
        }
        Ok(())
    }

    fn keys(&self, pattern: &[u8]) -> Reply {
        let matching = self.entries.keys().filter(|key| matches(pattern, key));
        Reply::Array(matching.cloned().map(Reply::Bulk).collect())
    }

    fn info(&self) -> String {
        format!(
            "# Server\r\nserver_name:coins-store\r\nredis_mode:standalone\r\n\
             # Memory\r\nused_memory:{}\r\nmaxmemory:{HELD_BYTES_MAX}\r\n\
             # Keyspace\r\ndb0:keys={},expires=0,avg_ttl=0\r\n",
            self.held_bytes,
            self.entries.len()
        )
    }

    /// What the count of held bytes must be, counted anew.
    #[cfg(test)]
    pub(crate) fn counted_bytes(&self) -> (usize, usize) {
        let entries = self.entries.iter();
        (
            self.held_bytes,
            entries
                .map(|(key, value)| key.len() + value.held_bytes())
                .sum(),
        )
    }
}

fn hello() -> Reply {
    let word = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    Reply::Array(vec![
        word("server"),
        word("coins-store"),
        word("proto"),
        Reply::Integer(2),
        word("mode"),
        word("standalone"),
    ])
}

fn all(fields: Option<&Fields>) -> Reply {
    let pairs = fields.into_iter().flatten();
    Reply::Array(
        pairs
            .flat_map(|(f, v)| [f, v])
            .cloned()
            .map(Reply::Bulk)
            .collect(),
    )
}

fn count(number: usize) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn integer(text: &[u8]) -> Result<i64, Reply> {
    decimal(text).ok_or_else(|| Reply::error(NOT_AN_INTEGER))
}

/// The command with these arguments is none of ours: either its name or their number is wrong.
fn unsuitable(name: &str) -> Reply {
    const NAMES: [&str; 20] = [
        "PING", "ECHO", "SELECT", "HELLO", "CLIENT", "DBSIZE", "FLUSHALL", "FLUSHDB", "KEYS",
        "EXISTS", "DEL", "GET", "SET", "INCR", "INCRBY", "HSET", "HGET", "HLEN", "HGETALL", "INFO",
    ];
    if NAMES.contains(&name) {
        let name = name.to_ascii_lowercase();
        return Reply::error(format!("wrong number of arguments for '{name}' command"));
    }
    let shown: String = name.chars().take(64).collect();
    Reply::error(format!("unknown command '{shown}'"))
}

/// Whether a pattern of plain bytes, `?` and `*` fits the whole key.
///
/// Remembers only the last star, so the time is at most the product of both lengths.
fn matches(pattern: &[u8], key: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < key.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == key[from] => {
                at += 1;
                from += 1;
            }
            Some(_) | None => match star {
                Some((star_at, star_from)) => {
                    star = Some((star_at, star_from + 1));
                    at = star_at + 1;
                    from = star_from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(keyspace: &mut Keyspace, line: &str) -> String {
        let words: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        let (Outcome::Answer(reply) | Outcome::Last(reply)) = keyspace.execute(&words);
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out)
            .unwrap()
            .trim_end()
            .replace("\r\n", " ")
    }

    #[test]
    fn commands_answer_as_redis_does() {
        let mut keyspace = Keyspace::default();
        let table = [
            ("ping", "+PONG"),
            ("PING a", "$1 a"),
            ("ECHO a", "$1 a"),
            ("ECHO", "-ERR wrong number of arguments for 'echo' command"),
            ("GET a", "$-1"),
            ("SET a 1", "+OK"),
            ("INCR a", ":2"),
            ("INCRBY a -3", ":-1"),
            ("INCRBY a 9223372036854775807", ":9223372036854775806"),
            ("INCRBY a 2", "-ERR increment or decrement would overflow"),
            ("INCRBY a x", "-ERR value is not an integer or out of range"),
            ("SET b x", "+OK"),
            ("INCR b", "-ERR value is not an integer or out of range"),
            ("EXISTS a b c a", ":3"),
            ("HSET h f 1 g 2", ":2"),
            ("HSET h f 3", ":0"),
            (
                "HSET h f",
                "-ERR wrong number of arguments for 'hset' command",
            ),
            ("HGET h f", "$1 3"),
            ("HGET h x", "$-1"),
            ("HLEN h", ":2"),
            ("HGETALL h", "*4 $1 f $1 3 $1 g $1 2"),
            ("HGETALL none", "*0"),
            ("GET h", &format!("-{WRONG_TYPE}")),
            ("HSET a f 1", &format!("-{WRONG_TYPE}")),
            ("DBSIZE", ":3"),
            ("KEYS *", "*3 $1 a $1 b $1 h"),
            ("KEYS ?", "*3 $1 a $1 b $1 h"),
            ("SET h 1", "+OK"),
            ("DEL a b c h", ":3"),
            ("DBSIZE", ":0"),
            ("SELECT 0", "+OK"),
            ("SELECT 1", "-ERR DB index is out of range"),
            ("COMMAND DOCS", "*0"),
            ("CLIENT SETINFO lib-name x", "+OK"),
            ("HELLO 3", "-NOPROTO unsupported protocol version"),
            (
                "HELLO 2",
                "*6 $6 server $11 coins-store $5 proto :2 $4 mode $10 standalone",
            ),
            ("NOPE", "-ERR unknown command 'NOPE'"),
            ("QUIT", "+OK"),
        ];
        for (command, answer) in table {
            assert_eq!(run(&mut keyspace, command), answer, "{command}");
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_a_refusal_changes_nothing() {
        let mut keyspace = Keyspace::default();
        let large = vec![0; HELD_BYTES_MAX / 2];
        assert_eq!(keyspace.set(&b"a".to_vec(), large.clone()), Ok(Reply::ok()));
        let refusal = Err(Reply::Error(OUT_OF_MEMORY.to_owned()));
        assert_eq!(keyspace.set(&b"b".to_vec(), large.clone()), refusal);
        assert_eq!(
            keyspace.set_fields(&b"h".to_vec(), &[b"f".to_vec(), large]),
            refusal
        );
        assert_eq!(run(&mut keyspace, "KEYS *"), "*1 $1 a");
    }

    #[test]
    fn patterns_match_whole_keys() {
        let table = [
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abcc", true),
            ("a*c", "abcd", false),
            ("?b", "ab", true),
            ("?", "", false),
            ("ab", "abc", false),
            ("**a", "ba", true),
        ];
        for (pattern, key, fits) in table {
            assert_eq!(
                matches(pattern.as_bytes(), key.as_bytes()),
                fits,
                "{pattern} {key}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_count_of_held_bytes_is_true(
            commands in prop::collection::vec(
                (0..6usize, "[ab]", "[xyz]{0,2}", "[0-9]{1,3}"), 0..60,
            )
        ) {
            let mut keyspace = Keyspace::default();
            for (kind, key, field, value) in commands {
                run(&mut keyspace, &match kind {
                    0 => format!("SET {key} {value}"),
                    1 => format!("DEL {key}"),
                    2 => format!("INCRBY {key} {value}"),
                    3 => format!("HSET {key} {field} {value} z {value}"),
                    4 => format!("HSET {key} {field} {field}"),
                    _ => format!("INCR {key}"),
                });
                let (held, counted) = keyspace.counted_bytes();
                prop_assert_eq!(held, counted);
            }
        }
    }
}
