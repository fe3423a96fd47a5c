//! What compose files mean: `files/` with their resolved forms, `specs/` with the Spec that the
//! engines get, `errors/` with what is said of them. `reference` compares with another program,
//! `editor` with the JSON schema; `coverage` misses nothing.

#![expect(clippy::unwrap_used, reason = "a test may fail here")]

mod case;
mod coverage;
mod editor;
mod reference;

use case::{Case, cases};
use compose::{Color, Diagnostics, Loaded, Request, Severity, Source, load, load_document, render};

/// Loads a case; what is wrong with it is told.
fn loaded(case: &Case) -> Result<Loaded, String> {
    load(&case.request(), case).map_err(|diagnostics| told(case, diagnostics))
}

/// The errors among diagnostics.
fn told(case: &Case, Diagnostics(mut diagnostics): Diagnostics) -> String {
    diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
    let text = render(&Diagnostics(diagnostics), Color::Plain);
    format!("{}:\n{text}", case.name)
}

/// All cases are tried before a snapshot that differs fails the test.
fn snapshots(folder: &str, text: impl Fn(&Case) -> Result<String, String>) {
    let mut failures = Vec::new();
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path(format!("../snapshots/{folder}"));
    for case in cases(folder) {
        match text(&case) {
            Ok(text) => {
                let assert = || insta::assert_snapshot!(case.name.as_str(), text);
                let differs = || settings.bind(assert);
                let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(differs));
                failures.extend(caught.err().map(|_| case.name.clone()));
            }
            Err(text) => failures.push(text),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_error_says_what_where_why_and_what_to_do() {
    snapshots("errors", |case| match load(&case.request(), case) {
        Err(diagnostics) => Ok(render(&diagnostics, Color::Plain)),
        Ok(_) => Err(format!("{} is accepted", case.name)),
    });
}

#[test]
fn every_file_resolves_to_what_it_means_in_compose() {
    snapshots("files", |case| {
        let loaded = loaded(case)?;
        let warnings = render(&loaded.warnings, Color::Plain);
        Ok(format!("{}---\n{warnings}", loaded.resolved.yaml()))
    });
}

#[test]
fn every_file_is_lowered_to_what_the_engines_are_asked_for() {
    snapshots("specs", |case| {
        let loaded = loaded(case)?;
        let warnings = render(&loaded.warnings, Color::Plain);
        Ok(format!("{}---\n{warnings}", compose::yaml(&loaded.spec)))
    });
}

/// A resolved form loads to itself anywhere, with nothing else there.
fn reloads(case: &Case) -> Result<(), String> {
    let loaded = loaded(case)?;
    let document = compose::document(&loaded.spec);
    assert_eq!(
        load_document(&document).unwrap(),
        loaded.spec,
        "{}",
        case.name
    );
    let again = |text: String| {
        let source = Source {
            path: "resolved".into(),
            text,
        };
        let request = Request {
            // A secret that comes from it is looked up there when it is needed.
            environment: case.request().environment,
            profiles: case.request().profiles,
            ..Request::new(vec![source], "/elsewhere".into())
        };
        load(&request, case).map_err(|diagnostics| told(case, diagnostics))
    };
    for text in [loaded.resolved.yaml(), loaded.resolved.json()] {
        let again = again(text)?;
        assert_eq!(
            again.resolved.value(),
            loaded.resolved.value(),
            "{}",
            case.name
        );
        assert_eq!(again.spec, loaded.spec, "{}", case.name);
    }
    for text in [document, compose::yaml(&loaded.spec)] {
        assert_eq!(again(text)?.spec, loaded.spec, "{}", case.name);
    }
    Ok(())
}

#[test]
fn every_resolved_form_loads_to_itself() {
    let all = cases("files").into_iter().chain(cases("specs"));
    let failures: Vec<String> = all.filter_map(|case| reloads(&case).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
