//! Which app a command is about, when it is not `up`.
//!
//! The name that is given; else the app of the files that are given, or found from the working
//! directory upwards; else the only app there is.

use api::AppSummary;
use model::{AppName, InvalidName};

use crate::arguments::Selection;
use crate::files::{self, FilesError, Origin, Surroundings};

/// Why no app is meant.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The given name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The named files do not tell it.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// There is none.
    #[error("no app is up")]
    NoneUp,
    /// There are several.
    #[error("several apps are up: {}", names.join(", "))]
    SeveralUp {
        /// Their names.
        names: Vec<String>,
    },
}

/// What the command line and the surroundings say without the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meant {
    /// This app.
    App(AppName),
    /// Nothing.
    Open,
}

/// The app that is meant, as far as it can be told without the daemon.
pub(crate) fn meant(
    selection: &Selection,
    surroundings: &Surroundings,
) -> Result<Meant, SelectError> {
    let named = selection.named.name.as_deref();
    if let Some(name) = named {
        return Ok(Meant::App(AppName::new(name)?));
    }
    let origin = surroundings.origin(selection);
    // A variable of the shell is weaker than a file named on the command line.
    if selection.files.is_empty()
        && let Some(name) = surroundings.variable("COMPOSE_PROJECT_NAME")
    {
        return Ok(Meant::App(AppName::new(name)?));
    }
    match (origin, files::load(selection, &[], surroundings)) {
        (None, _) => Ok(Meant::Open),
        (Some(_), Ok(loaded)) => Ok(Meant::App(loaded.spec.name)),
        (Some(Origin::Named(_)), Err(error)) => Err(error.into()),
        // A file that was only found, and is broken, is no reason not to look at what is up.
        (Some(Origin::Found(_)), Err(_)) => Ok(Meant::Open),
    }
}

/// The only app there is.
pub(crate) fn only(apps: &[AppSummary]) -> Result<AppName, SelectError> {
    match apps {
        [] => Err(SelectError::NoneUp),
        [app] => Ok(AppName::new(&app.name)?),
        several => Err(SelectError::SeveralUp {
            names: several.iter().map(|app| app.name.clone()).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::arguments::Named;

    fn surroundings(folder: &std::path::Path, project: Option<&str>) -> Surroundings {
        let variable = |name: &str| ("COMPOSE_PROJECT_NAME".to_owned(), name.to_owned());
        Surroundings {
            working_directory: folder.to_owned(),
            environment: project
                .map(variable)
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        }
    }

    fn app(name: &str) -> Meant {
        Meant::App(AppName::new(name).unwrap())
    }

    #[test]
    fn a_name_comes_before_a_file_and_a_file_before_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let file = "name: of-file\nservices: { a: { image: host, command: x } }";
        std::fs::write(folder.path().join("compose.yaml"), file).unwrap();
        let by_file = Selection {
            files: vec!["compose.yaml".into()],
            ..Selection::default()
        };
        let by_name = Selection {
            named: Named {
                name: Some("given".to_owned()),
                ..Named::default()
            },
            ..by_file.clone()
        };
        let none = Selection::default();
        for (selection, project, expected) in [
            (&by_name, Some("of-shell"), "given"),
            (&none, Some("of-shell"), "of-shell"),
            (&none, None, "of-file"),
            (&by_file, None, "of-file"),
        ] {
            let meant = meant(selection, &surroundings(folder.path(), project)).unwrap();
            assert_eq!(meant, app(expected));
        }
    }

    #[test]
    fn a_broken_file_is_an_error_only_when_it_was_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("compose.yaml"), "services: [").unwrap();
        let surroundings = surroundings(folder.path(), None);
        let found = meant(&Selection::default(), &surroundings).unwrap();
        assert_eq!(found, Meant::Open);
        let named = Selection {
            files: vec!["compose.yaml".into()],
            ..Selection::default()
        };
        assert!(meant(&named, &surroundings).is_err());
    }

    #[test]
    fn the_only_app_is_meant_and_several_are_listed() {
        let summary = |name: &str| AppSummary {
            name: name.to_owned(),
            state: "up".to_owned(),
            services: 1,
            ready: 1,
        };
        assert_eq!(only(&[summary("a")]).unwrap().as_str(), "a");
        assert_eq!(only(&[]).unwrap_err().to_string(), "no app is up");
        let several = only(&[summary("a"), summary("b")]).unwrap_err();
        assert_eq!(several.to_string(), "several apps are up: a, b");
    }
}
