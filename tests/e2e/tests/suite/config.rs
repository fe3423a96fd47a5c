//! `roads config`, and what files of every kind are read or refused as.

use std::fs::File;
use std::process::Stdio;

use e2e::{App, Outcome, Roads};
use serde_json::Value;

const SHOP: &str = "name: shop
x-roads: { owner: team-shop }
services:
  web: { image: host, command: 'sleep $SECONDS', ports: ['8080:80'], depends_on: [db] }
  db: { image: 'db:${TAG:-1}', command: x, volumes: ['data:/data'], cap_add: [SYS_NICE] }
  debug: { image: host, command: x, profiles: [debug], networks: [back] }
networks: { back: }
volumes: { data: }
";

fn shop() -> std::sync::Arc<Roads> {
    let roads = Roads::new();
    roads.write("compose.yaml", SHOP);
    roads.write(".env", "SECONDS=7\n");
    roads
}

/// The last words of a hint may be on a line of their own.
fn says(outcome: &Outcome, parts: &[&str]) {
    let text = outcome.text();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {outcome:#?}");
    }
}

#[test]
fn every_key_is_in_the_resolved_form_and_it_reloads_to_itself() {
    let roads = shop();
    for format in ["yaml", "json"] {
        let first = roads.ok(&["config", "--format", format]);
        let file = roads.write(&format!("elsewhere/again.{format}"), &first);
        let file = file.to_str().unwrap();
        assert_eq!(roads.ok(&["config", "-f", file, "--format", format]), first);
    }
    let resolved = roads.json(&["config", "--json"]);
    assert_eq!(resolved["services"]["db"]["cap_add"][0], "SYS_NICE");
    assert_eq!(resolved["services"]["web"]["command"][1], "7");
    assert_eq!(resolved["services"]["debug"], Value::Null);
    assert_eq!(resolved["volumes"]["data"]["name"], "shop_data");
}

#[test]
fn parts_are_one_a_line_or_json() {
    let roads = shop();
    let part = |words: &[&str]| roads.ok(&[&["config"], words].concat());
    assert_eq!(part(&["--services"]), "db\nweb\n");
    assert_eq!(
        part(&["--services", "--profile", "debug"]),
        "db\ndebug\nweb\n"
    );
    assert_eq!(part(&["--services", "db"]), "db\n");
    assert_eq!(part(&["--volumes"]), "data\n");
    assert_eq!(part(&["--networks"]), "back\ndefault\n");
    assert_eq!(part(&["--images"]), "db:1\nhost\n");
    assert_eq!(part(&["--profiles"]), "debug\n");
    assert!(part(&["--environment"]).contains("SECONDS=7\n"));
    assert_eq!(roads.json(&["config", "--services", "--json"])[1], "web");
    says(
        &roads.fails(&["config", "--services", "--images"]),
        &["cannot be used with"],
    );
}

#[test]
fn variables_stay_when_they_are_not_to_be_replaced() {
    let text = shop().ok(&["config", "--no-interpolate"]);
    assert!(
        text.contains("$SECONDS") && text.contains("${TAG:-1}"),
        "{text}"
    );
}

#[test]
fn a_hash_changes_when_the_program_would_see_it() {
    let roads = shop();
    let hash = || roads.ok(&["config", "--hash", "web"]);
    let first = hash();
    assert_eq!(first.trim_end().len(), "web ".len() + 64, "{first}");
    let all = roads.ok(&["config", "--hash", "*"]);
    assert!(all.starts_with("db ") && all.ends_with(&first), "{all}");
    roads.write("compose.yaml", &SHOP.replace("8080:80", "8081:80"));
    assert_eq!(hash(), first);
    roads.write(".env", "SECONDS=8\n");
    assert_ne!(hash(), first);
    says(
        &roads.fails(&["config", "--hash", "wbe"]),
        &["no service wbe"],
    );
}

#[test]
fn it_writes_to_a_file_or_not_at_all() {
    let roads = shop();
    assert_eq!(roads.ok(&["config", "--output", "out.yaml"]), "");
    let written = std::fs::read_to_string(roads.folder().join("out.yaml")).unwrap();
    assert_eq!(written, roads.ok(&["config"]));
    assert_eq!(roads.ok(&["config", "--quiet"]), "");
    says(
        &roads.fails(&["config", "--output", "no/such/out"]),
        &["cannot write no/such/out"],
    );
}

#[test]
fn the_schema_knows_every_key_of_x_roads() {
    let schema = Roads::new().json(&["config", "--schema"]);
    let service = &schema["properties"]["services"]["additionalProperties"];
    let service = &service["properties"]["x-roads"];
    assert_eq!(service["additionalProperties"], false);
    assert!(
        service["properties"]["activation"].is_object(),
        "{schema:#}"
    );
    let roads = Roads::new();
    roads.write(
        "compose.yaml",
        "x-roads: { ownr: a }\nservices: { a: { image: host, command: x } }\n",
    );
    says(
        &roads.fails(&["config"]),
        &["unknown key \"ownr\"", "did you mean \"owner\"?"],
    );
}

#[test]
fn strict_makes_errors_of_warnings_and_starts_nothing() {
    let app =
        App::of("services:\n  a: { image: host, command: sleep 1000, cap_add: [SYS_NICE] }\n");
    for words in [&["up", "-d", "--strict"][..], &["config", "--strict"]] {
        let outcome = app.fails(words);
        says(
            &outcome,
            &["`cap_add` is not honoured", "--strict refuses that"],
        );
        assert_eq!(outcome.stdout, "");
    }
    assert!(app.roads().daemon().is_none());
    app.ok(&["up", "-d"]);
}

#[test]
fn standard_input_is_a_file() {
    let roads = shop();
    let with = |words: &[&str], file: &str| {
        let mut command = roads.command(words);
        command.stdin(File::open(roads.folder().join(file)).unwrap());
        roads.outcome(&mut command)
    };
    let outcome = with(&["config", "-f", "-", "--services"], "compose.yaml");
    assert_eq!(outcome.stdout, "db\nweb\n", "{outcome:#?}");
    roads.write("broken.yaml", "services:\n  web: [\n");
    says(
        &with(&["config", "-f", "-"], "broken.yaml"),
        &["this is not YAML", "-:"],
    );
    let mut empty = roads.command(&["config", "-f", "-"]);
    says(&roads.outcome(empty.stdin(Stdio::null())), &["- is empty"]);
    roads.write("-", "services: { dash: { image: host, command: x } }\n");
    assert_eq!(roads.ok(&["config", "-f", "./-", "--services"]), "dash\n");
}

#[test]
fn what_is_no_text_says_why() {
    let roads = shop();
    let fails = |file: &str| roads.fails(&["config", "-f", file]);
    says(
        &fails("no.yaml"),
        &["cannot read no.yaml", "there is no such file"],
    );
    std::fs::create_dir(roads.folder().join("folder")).unwrap();
    says(
        &fails("folder"),
        &[
            "cannot read folder",
            "it is a folder",
            "name the file in it",
        ],
    );
    let latin = b"services:\n  web: { image: host, command: caf\xe9 }\n";
    std::fs::write(roads.folder().join("latin.yaml"), latin).unwrap();
    says(
        &fails("latin.yaml"),
        &["line 2 is not UTF-8", "save it as UTF-8"],
    );
    says(&fails("/dev/zero"), &["longer than 16 MiB"]);
    let missing = ["config", "--env-file", "no.env"];
    says(&roads.fails(&missing), &["cannot read no.env"]);
    says(
        &roads.fails(&["config", "--project-directory", "no"]),
        &["no"],
    );
}

#[test]
fn a_mark_before_the_text_and_other_line_ends_change_nothing() {
    let roads = shop();
    let plain = roads.ok(&["config"]);
    let text = SHOP.replace('\n', "\r\n");
    roads.write("compose.yaml", &format!("\u{feff}{text}"));
    roads.write(".env", "\u{feff}SECONDS=7\r\n");
    assert_eq!(roads.ok(&["config"]), plain);
}

#[test]
fn the_env_file_may_name_the_compose_files() {
    let roads = Roads::new();
    roads.write(
        "one.yaml",
        "services: { one: { image: host, command: x } }\n",
    );
    roads.write(
        "two.yaml",
        "services: { two: { image: host, command: x } }\n",
    );
    roads.write(
        ".env",
        "COMPOSE_FILE=one.yaml:two.yaml\nCOMPOSE_PROJECT_NAME=both\n",
    );
    assert_eq!(roads.ok(&["config", "--services"]), "one\ntwo\n");
    assert_eq!(roads.json(&["config", "--json"])["name"], "both");
}
