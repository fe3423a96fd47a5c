//! What the whole does: names, profiles, selections, order, bounds.

use std::fmt::Write as _;

use super::*;
use crate::{Color, Severity, document, render};

struct NoFiles;

impl ReadFile for NoFiles {
    fn read(&self, _: &Path) -> Result<String, ReadFileError> {
        Err(ReadFileError::Missing)
    }
}

fn request(text: &str) -> Request {
    let file = Source {
        path: "compose.yaml".into(),
        text: text.to_owned(),
    };
    Request::new(vec![file], "/home/me/My App".into())
}

fn names(request: &Request) -> Result<Vec<String>, String> {
    let loaded = load(request, &NoFiles).map_err(|error| error.to_string())?;
    Ok(loaded
        .spec
        .services
        .keys()
        .map(ToString::to_string)
        .collect())
}

const PROFILES: &str = "
services:
  web: { image: host, depends_on: [db] }
  db: { image: host }
  debug: { image: host, profiles: [debug], depends_on: [probe] }
  probe: { image: host, profiles: [debug, other] }
  tool: { image: host, profiles: [tools], depends_on: [debug] }
";

fn chosen(services: &[&str], profiles: &[&str]) -> Result<Vec<String>, String> {
    let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let services = match services {
        [] => Selection::All,
        services => Selection::Services(own(services)),
    };
    names(&Request {
        services,
        profiles: own(profiles),
        ..request(PROFILES)
    })
}

#[test]
fn profiles_and_names_choose_services() {
    for (services, profiles, expected) in [
        (&[][..], &[][..], &["db", "web"][..]),
        (&[], &["debug"], &["db", "debug", "probe", "web"]),
        (&[], &["*"], &["db", "debug", "probe", "tool", "web"]),
        (&["db"], &[], &["db"]),
        (&["web"], &["debug"], &["db", "web"]),
        (&["debug"], &[], &["debug", "probe"]),
        (&["tool"], &["debug"], &["debug", "probe", "tool"]),
    ] {
        let expected = expected.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(
            chosen(services, profiles),
            Ok(expected),
            "{services:?} {profiles:?}"
        );
    }
}

#[test]
fn what_is_asked_for_must_be_there() {
    let asleep = chosen(&["tool"], &[]).unwrap_err();
    assert!(
        asleep.contains("tool depends on debug, whose profile is not active"),
        "{asleep}"
    );
    let typo = load(
        &Request {
            services: Selection::Services(["wbe".to_owned()].into()),
            ..request(PROFILES)
        },
        &NoFiles,
    );
    insta::assert_snapshot!(render(&typo.unwrap_err(), Color::Plain));
}

#[test]
fn variables_may_name_the_profiles() {
    let mut request = request(PROFILES);
    let profiles = ("COMPOSE_PROFILES".to_owned(), "other, none".to_owned());
    request.environment.extend([profiles]);
    assert_eq!(
        names(&request),
        Ok(["db", "probe", "web"].map(str::to_owned).into())
    );
}

#[test]
fn the_name_comes_from_the_nearest_who_says_one() {
    let with = |name: Option<&str>, variable: Option<&str>, key: &str| {
        let mut request = request(&format!(
            "{key}\nservices: {{ a: {{ image: \"$COMPOSE_PROJECT_NAME:1\" }} }}"
        ));
        request.name = name.map(str::to_owned);
        let variable = variable.map(|v| ("COMPOSE_PROJECT_NAME".to_owned(), v.to_owned()));
        request.environment.extend(variable);
        let spec = load(&request, &NoFiles).map(|loaded| loaded.spec);
        spec.map(|spec| {
            (
                spec.name.to_string(),
                document(&spec).contains(&format!("\"{}:1\"", spec.name)),
            )
        })
        .map_err(|error| error.to_string())
    };
    for (name, variable, key, expected) in [
        (Some("given"), Some("variable"), "name: file", "given"),
        (None, Some("variable"), "name: file", "variable"),
        (None, Some(""), "name: file", "file"),
        (None, None, "name: ${NAME:-file}", "file"),
        (None, None, "", "myapp"),
    ] {
        assert_eq!(with(name, variable, key), Ok((expected.to_owned(), true)));
    }
    assert!(with(Some("Not Valid"), None, "").is_err());
}

#[test]
fn the_environment_comes_before_its_files() {
    let mut request = request("services: { a: { image: \"$A-$B-$C\" } }");
    request.environment.insert("A".into(), "shell".into());
    for text in ["A=1\nB=1\nC=${A}1\n", "B=2\n"] {
        request.env_files.push(Source {
            path: ".env".into(),
            text: text.into(),
        });
    }
    let spec = load(&request, &NoFiles).unwrap().spec;
    assert!(
        document(&spec).contains("\"shell-2-shell1\""),
        "{}",
        document(&spec)
    );
}

#[test]
fn an_error_in_an_environment_file_is_shown_there() {
    let mut request = request("services: { a: { image: host } }");
    request.env_files.push(Source {
        path: ".env".into(),
        text: "GOOD=1\nNOT GOOD=2\n".into(),
    });
    let error = load(&request, &NoFiles).unwrap_err().to_string();
    assert_eq!(error, ".env:2:1: \"NOT GOOD\" is no name of a variable");
}

#[test]
fn diagnostics_come_in_the_order_of_the_files() {
    let text =
        "services:\n  a: { image: host, depends_on: [x], prots: 1, tty: true }\n  b: { cpus: x }\n";
    let error = load(&request(text), &NoFiles).unwrap_err();
    let places: Vec<_> = error
        .0
        .iter()
        .map(|d| (d.severity, d.labels[0].range.start))
        .collect();
    assert!(places.is_sorted_by_key(|(_, start)| *start), "{places:?}");
    assert_eq!(error.errors(), 4);
    assert_eq!(
        places
            .iter()
            .filter(|(s, _)| *s == Severity::Warning)
            .count(),
        1
    );
}

#[test]
fn a_warning_of_many_services_is_one() {
    let mut text = "services:\n".to_owned();
    for index in 0..10 {
        writeln!(text, "  s{index}: {{ image: host, tty: true }}").unwrap();
    }
    let warnings = load(&request(&text), &NoFiles).unwrap().warnings;
    assert_eq!(warnings.0.len(), 1);
    assert_eq!(warnings.0[0].labels.len(), 3);
    assert!(
        warnings.0[0]
            .help
            .as_ref()
            .unwrap()
            .ends_with("(and 7 more places)")
    );
}

#[test]
fn colours_say_nothing_more() {
    let error = load(&request("services: { a: { imagee: host } }"), &NoFiles).unwrap_err();
    let coloured = render(&error, Color::Ansi);
    assert!(coloured.contains("\u{1b}["));
    assert!(!render(&error, Color::Plain).contains("\u{1b}["));
}

#[test]
fn a_long_cycle_is_drawn_in_short() {
    let mut text = "services:\n".to_owned();
    for index in 0..40 {
        let next = (index + 1) % 40;
        writeln!(text, "  s{index}: {{ image: host, depends_on: [s{next}] }}").unwrap();
    }
    let error = load(&request(&text), &NoFiles).unwrap_err();
    assert_eq!(error.0.len(), 1);
    let drawn = &error.0[0].message;
    assert!(
        drawn.ends_with("s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> s6 -> s7 -> s8 -> … -> s39 -> s0"),
        "{drawn}"
    );
}

#[test]
fn a_line_too_long_is_named_and_not_drawn() {
    let text = format!(
        "services: {{ a: {{ imagee: host, image: {} }} }}",
        "x".repeat(5000)
    );
    let drawn = render(&load(&request(&text), &NoFiles).unwrap_err(), Color::Plain);
    insta::assert_snapshot!(drawn);
}

#[test]
fn a_file_too_long_is_not_read() {
    let text = "#".repeat(text::yaml::BYTES_MAX + 1);
    let error = load(&request(&text), &NoFiles).unwrap_err().to_string();
    assert!(error.contains("at most 10485760 are read"), "{error}");
    assert!(load(&request("a: \0"), &NoFiles).is_err());
    assert!(load(&Request::new(Vec::new(), "/a".into()), &NoFiles).is_err());
}

#[test]
fn variables_do_not_make_a_bomb() {
    let mut request = request(&format!(
        "x-a: \"{}\"\nservices: {{ a: {{ image: host }} }}",
        "$A".repeat(100_000)
    ));
    request.environment.insert("A".into(), "a".repeat(10_000));
    let error = load(&request, &NoFiles).unwrap_err().to_string();
    assert!(error.contains("bytes of text"), "{error}");
}

/// Files by their absolute paths.
struct Files(BTreeMap<PathBuf, String>);

impl ReadFile for Files {
    fn read(&self, path: &Path) -> Result<String, ReadFileError> {
        self.0.get(path).cloned().ok_or(ReadFileError::Missing)
    }
}

#[test]
fn files_that_multiply_come_to_an_end() {
    // Each includes the next twice, by different names.
    let include = |to: usize| format!("include: [a{to}.yaml, ./x/../b{to}.yaml]\n");
    let service = |name: &str| format!("services: {{ {name}: {{ image: host }} }}\n");
    let mut files = BTreeMap::new();
    for index in 0..30_usize {
        for name in ["a", "b"] {
            let path = PathBuf::from(format!("/home/me/My App/{name}{index}.yaml"));
            files.insert(
                path,
                include(index + 1) + &service(&format!("{name}{index}")),
            );
        }
    }
    let started = request(&(include(0) + &service("web")));
    let error = load(&started, &Files(files)).unwrap_err().to_string();
    assert!(
        error.contains("more than 1000 files are included"),
        "{error}"
    );
}

#[test]
fn variables_that_are_kept_stay_as_they_are_written() {
    let request = Request {
        variables: Variables::Kept,
        ..request(
            "services:
               web:
                 image: \"web:${TAG:-7}\"
                 ports: [\"${PORT}:80\", \"81:81\"]
                 environment: { A: \"$$x ${B}\" }
                 env_file: \"${FILE}\"
                 deploy: { replicas: \"${COUNT}\" }",
        )
    };
    let (resolved, _) = resolve(&request, &NoFiles).unwrap();
    let web = resolved.part(crate::Section::Services, "web").unwrap();
    assert_eq!(web["image"], "web:${TAG:-7}");
    assert_eq!(web["ports"][0], "${PORT}:80");
    assert_eq!(web["ports"][1]["target"], 81);
    assert_eq!(web["environment"]["A"], "$$x ${B}");
    assert_eq!(web["env_file"][0]["path"], "${FILE}");
    assert_eq!(web["deploy"]["replicas"], "${COUNT}");
}
