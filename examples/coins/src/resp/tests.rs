//! Tables for the spellings, properties for the readers.

use proptest::prelude::*;

use super::*;

fn words(words: &[&str]) -> Command {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn commands_are_read_in_both_forms() {
    let table: [(&str, &[&str]); 14] = [
        ("*1\r\n$4\r\nPING\r\n", &["PING"]),
        ("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &["GET", ""]),
        (
            "*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n",
            &["ECHO", "\r\n\r\n"],
        ),
        ("*0\r\n", &[]),
        ("*-1\r\n", &[]),
        ("PING\r\n", &["PING"]),
        ("  SET  a\tb \n", &["SET", "a", "b"]),
        ("\r\n", &[]),
        ("SET \"a b\" 'c d'\r\n", &["SET", "a b", "c d"]),
        ("SET \"\" ''\r\n", &["SET", "", ""]),
        (r#"E "\n\t\"\\\x41\xzz""#, &["E", "\n\t\"\\Axzz"]),
        (r"E 'it\'s \n'", &["E", r"it's \n"]),
        ("a\"b c\"\n", &["ab c"]),
        ("+OK\r\n", &["+OK"]),
    ];
    for (text, expected) in table {
        let text = if text.ends_with('\n') {
            text.to_owned()
        } else {
            format!("{text}\r\n")
        };
        let read = read_command(text.as_bytes());
        assert_eq!(read, Ok(Some((words(expected), text.len()))), "{text:?}");
    }
}

#[test]
fn what_is_no_command_is_refused() {
    let long = "a".repeat(LINE_BYTES_MAX);
    let many = "a ".repeat(ARGUMENTS_MAX + 1) + "\n";
    let table = [
        ("*x\r\n", ProtocolError::BadCount),
        ("*+1\r\n", ProtocolError::BadCount),
        ("*01\r\n", ProtocolError::BadCount),
        ("*\r\n", ProtocolError::BadCount),
        ("*1025\r\n", ProtocolError::BadCount),
        ("*99999999999999999999\r\n", ProtocolError::BadCount),
        ("*1\n", ProtocolError::BadLineEnd),
        ("*1\r\r\n", ProtocolError::BadLineEnd),
        ("*1\r\n+OK\r\n", ProtocolError::NotBulk(b'+')),
        ("*1\r\n$-1\r\n", ProtocolError::BadLength),
        ("*1\r\n$1048577\r\n", ProtocolError::BadLength),
        ("*1\r\n$ 1\r\na\r\n", ProtocolError::BadLength),
        ("*1\r\n$1\r\nab", ProtocolError::BadBulkEnd),
        ("*1\r\n$1\r\na\rb", ProtocolError::BadBulkEnd),
        ("SET \"a\r\n", ProtocolError::BadQuotes),
        ("SET \"a\"b\r\n", ProtocolError::BadQuotes),
        ("SET 'a\\\r\n", ProtocolError::BadQuotes),
        (&long, ProtocolError::LongLine),
        (&many, ProtocolError::BadCount),
    ];
    for (text, error) in table {
        assert_eq!(
            read_command(text.as_bytes()),
            Err(error),
            "{:?}",
            &text[..text.len().min(40)]
        );
    }
}

#[test]
fn a_command_that_can_only_become_too_large_is_refused() {
    let mut text = b"*6\r\n".to_vec();
    for _ in 0..4 {
        text.extend_from_slice(format!("${BULK_BYTES_MAX}\r\n").as_bytes());
        text.resize(text.len() + BULK_BYTES_MAX, b'a');
        text.extend_from_slice(b"\r\n");
    }
    assert_eq!(read_command(&text), Err(ProtocolError::LongMessage));
    assert_eq!(read_command(&text[..MESSAGE_BYTES_MAX - 1]), Ok(None));
}

#[test]
fn what_is_no_reply_is_refused() {
    let table = [
        ("?", ProtocolError::BadKind(b'?')),
        (":1x\r\n", ProtocolError::BadInteger),
        ("$-2\r\n", ProtocolError::BadLength),
        ("*-2\r\n", ProtocolError::BadCount),
        ("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", ProtocolError::TooDeep),
    ];
    for (text, error) in table {
        assert_eq!(read_reply(text.as_bytes()), Err(error), "{text:?}");
    }
}

#[test]
fn a_line_end_in_a_text_begins_no_new_reply() {
    let mut out = Vec::new();
    Reply::error("a\r\n+OK").write(&mut out);
    assert_eq!(out, b"-ERR a  +OK\r\n");
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let line = "[ -~é]{0,20}";
    let leaf = prop_oneof![
        line.prop_map(Reply::Simple),
        line.prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Reply::Bulk),
        Just(Reply::Nil),
    ];
    leaf.prop_recursive(3, 30, 5, |inner| {
        prop::collection::vec(inner, 0..5).prop_map(Reply::Array)
    })
}

/// Pieces of the protocol in any order: nearer to it than random bytes.
fn nearly_commands() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b" ".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_vec()),
        Just(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n41\r\n".to_vec()),
        Just(b"INCR a\r\nKEYS *\r\nHSET h f v\nHGETALL h\n".to_vec()),
        (0..5i32).prop_map(|count| format!("*{count}\r\n").into_bytes()),
        (-1..4i32).prop_map(|length| format!("${length}\r\n").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_reply_reads_back_as_it_was_written(reply in any_reply(), rest in any::<[u8; 3]>()) {
        let mut bytes = Vec::new();
        reply.write(&mut bytes);
        let length = bytes.len();
        for end in 0..length {
            prop_assert_eq!(read_reply(&bytes[..end]), Ok(None));
        }
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(read_reply(&bytes), Ok(Some((reply, length))));
    }

    #[test]
    fn a_command_reads_back_as_it_was_sent(
        command in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..6)
    ) {
        let mut bytes = Vec::new();
        Reply::Array(command.iter().cloned().map(Reply::Bulk).collect()).write(&mut bytes);
        prop_assert_eq!(read_command(&bytes), Ok(Some((command, bytes.len()))));
    }

    #[test]
    fn what_a_beginning_decides_the_rest_does_not_change(bytes in nearly_commands()) {
        let whole = read_command(&bytes);
        for end in 0..bytes.len() {
            match read_command(&bytes[..end]) {
                Ok(None) => {}
                decided => prop_assert_eq!(decided, whole.clone()),
            }
        }
    }

    #[test]
    fn no_bytes_of_a_client_break_the_store(bytes in nearly_commands()) {
        crate::fuzz_resp(&bytes);
    }

    #[test]
    fn no_random_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzz_resp(&bytes);
        let _ = read_reply(&bytes);
    }
}
