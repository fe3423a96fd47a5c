//! A thousand services that sleep.

use std::fmt::Write;

use e2e::App;

#[test]
fn a_thousand_sleeping_services_have_no_process_and_wake_when_called() {
    let mut text = "services:\n".to_owned();
    for number in 0..1000 {
        writeln!(
            text,
            "  s{number}: {{ image: host, command: roads coins echo, expose: [\"80\"] }}"
        )
        .unwrap();
    }
    let app = App::of(&text);
    app.ok(&["up", "-d", "--lazy"]);
    let status = app.status();
    let services = status["services"].as_array().unwrap();
    assert_eq!(services.len(), 1000);
    assert!(services.iter().all(|service| service["state"] == "asleep"));
    assert_eq!(app.roads().inits().len(), 0);
    let answer = app.get(
        "s0",
        "/call?url=http://s999/call?url=http://s500.demo.internal/",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(app.roads().inits().len(), 3);
}
