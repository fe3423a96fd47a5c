//! The outside, and being kept from it.

use e2e::{App, Outside};

use crate::support::skip_unless;

#[test]
fn the_outside_is_reached_from_networks_that_are_not_internal() {
    let outside = match Outside::find() {
        Ok(outside) => outside,
        Err(why) => {
            skip_unless(
                false,
                &format!("there is no server in another namespace: {why}"),
            );
            return;
        }
    };
    let app = App::up(
        "services:
  a: { image: host, command: roads coins echo, expose: [\"80\"] }
  kept: { image: host, command: roads coins echo, expose: [\"80\"], networks: [back] }
  both: { image: host, command: roads coins echo, expose: [\"80\"], networks: [back, default] }
networks: { back: { internal: true } }
",
    );
    let url = format!("http://{}/hello", outside.address());
    let path = format!("/call?url={url}");
    for service in ["a", "both"] {
        let answer = app.get(service, &path);
        assert_eq!(answer.status, 200, "{service}: {}", answer.text());
        let called = &answer.json()["called"];
        assert_eq!(called["target"], "/hello", "{called:#}");
        assert_ne!(called["hostname"], answer.json()["hostname"]);
    }
    let line = format!("curl -s -m 20 -o /dev/null {url}");
    let outcome = app.try_sh("kept", &line);
    assert!(!outcome.status.success(), "{outcome:#?}");
    assert_ne!(app.get("kept", &path).status, 200);
    // What belongs to this machine alone is not the outside.
    let own = format!("http://127.0.0.1:{}/", app.roads().ingress().port());
    assert!(
        !app.try_sh("a", &format!("curl -s -m 20 -o /dev/null {own}"))
            .status
            .success()
    );
}
