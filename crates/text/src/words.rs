//! A command line as words, as Compose splits it: quotes and backslashes, and no shell.

/// Why a line cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// A quote.
    #[error("a quote is not closed")]
    Quote,
    /// A backslash at the end.
    #[error("nothing follows the backslash")]
    Backslash,
    /// `(` or `)` outside of quotes.
    #[error("parentheses need a shell")]
    Parenthesis,
}

/// The words of a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// The words.
    pub words: Vec<String>,
    /// The operator of a shell (`;`, `&`, `|`, `<`, `>`) at which Compose stops reading.
    pub stopped_at: Option<char>,
}

/// Splits a line.
pub fn split(line: &str) -> Result<Words, InvalidLine> {
    let mut words = Words::default();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None | Some('"'), '\\') => {
                let escaped = characters.next().ok_or(InvalidLine::Backslash)?;
                word.get_or_insert_default().push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                });
            }
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t' | '\r' | '\n') => words.words.extend(word.take()),
            (None, '(' | ')') => return Err(InvalidLine::Parenthesis),
            (None, ';' | '&' | '|' | '<' | '>') => {
                words.stopped_at = Some(character);
                break;
            }
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err(InvalidLine::Quote);
    }
    words.words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_splits_as_compose_splits_it() {
        for (line, words) in [
            ("", vec![]),
            ("  sleep   10 ", vec!["sleep", "10"]),
            ("sh -c 'echo \"hi\"'", vec!["sh", "-c", "echo \"hi\""]),
            ("a \"b c\"d", vec!["a", "b cd"]),
            ("a ''", vec!["a", ""]),
            ("a\\ b", vec!["a b"]),
            ("'a\\b'", vec!["a\\b"]),
            ("a\nb", vec!["a", "b"]),
            ("--x=${y}", vec!["--x=${y}"]),
        ] {
            let expected = words.into_iter().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(split(line).map(|w| w.words), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn a_shell_operator_ends_the_words() {
        let words = split("echo a && echo b").unwrap();
        assert_eq!(words.words, ["echo", "a"]);
        assert_eq!(words.stopped_at, Some('&'));
    }

    #[test]
    fn what_is_open_is_refused() {
        assert_eq!(split("a 'b"), Err(InvalidLine::Quote));
        assert_eq!(split("a \\"), Err(InvalidLine::Backslash));
        assert_eq!(split("a $(b)"), Err(InvalidLine::Parenthesis));
    }
}
