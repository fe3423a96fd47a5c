//! The JSON schema of `x-roads` takes what the loader takes, and refuses what it refuses.

use serde_json::{Value, json};

use super::case::{cases, tests};
use super::reference::{is_installed, python};

/// Answers whether the schema takes each file; null for one that PyYAML does not read.
const VALIDATE: &str = "
import json, sys, yaml, jsonschema
question = json.load(sys.stdin)
validator = jsonschema.Draft7Validator(question['schema'])
def takes(path):
    try:
        file = yaml.safe_load(open(path))
    except yaml.YAMLError:
        return None
    return validator.is_valid(json.loads(json.dumps(file, default=str)))
json.dump([takes(path) for path in question['files']], sys.stdout)
";

/// Whether the schema takes each of these files.
fn takes(files: &[String]) -> Vec<Option<bool>> {
    let schema: Value = serde_json::from_str(&compose::roads_schema()).unwrap();
    let question = json!({ "schema": schema, "files": files });
    serde_json::from_value(python(&["-c", VALIDATE], &question)).unwrap()
}

#[test]
fn an_editor_is_told_what_the_loader_says_of_x_roads() {
    if !is_installed() {
        return;
    }
    let all = cases("files").into_iter().chain(cases("specs"));
    let files: Vec<String> = all
        .flat_map(|case| case.files)
        .map(|file| file.to_string_lossy().into_owned())
        .collect();
    for (file, takes) in files.iter().zip(takes(&files)) {
        assert_ne!(takes, Some(false), "the schema refuses {file}");
    }
    let wrong = ["x-roads.yaml", "x-roads-types.yaml"];
    let wrong = wrong.map(|name| {
        tests()
            .join("errors")
            .join(name)
            .to_string_lossy()
            .into_owned()
    });
    assert_eq!(takes(&wrong), [Some(false), Some(false)]);
}
