//! Templates against a small model, and the table of what is no template.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Fault, interpolate};

type Variables = BTreeMap<String, String>;

/// A template as a tree: what a person means.
#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Dollar,
    Plain(String),
    Braced(String),
    Word(String, Operator, Vec<Part>),
}

#[derive(Debug, Clone, Copy)]
enum Operator {
    Default,
    DefaultIfEmpty,
    Other,
    OtherUnlessEmpty,
    Required,
    RequiredNotEmpty,
}

fn write(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Dollar => "$$".to_owned(),
        // A letter after it would belong to the name.
        Part::Plain(name) => format!("${name} "),
        Part::Braced(name) => format!("${{{name}}}"),
        Part::Word(name, operator, word) => {
            let sign = match operator {
                Operator::Default => "-",
                Operator::DefaultIfEmpty => ":-",
                Operator::Other => "+",
                Operator::OtherUnlessEmpty => ":+",
                Operator::Required => "?",
                Operator::RequiredNotEmpty => ":?",
            };
            format!("${{{name}{sign}{}}}", write(word))
        }
    };
    parts.iter().map(part).collect()
}

/// What the parts mean; the message where a variable is required.
fn value(parts: &[Part], variables: &Variables) -> Result<String, String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(part) => text.push_str(part),
            Part::Dollar => text.push('$'),
            Part::Plain(name) => {
                text.push_str(variables.get(name).map_or("", String::as_str));
                text.push(' ');
            }
            Part::Braced(name) => text.push_str(variables.get(name).map_or("", String::as_str)),
            Part::Word(name, operator, word) => {
                let set = variables.get(name);
                let filled = set.filter(|value| !value.is_empty());
                let word = || value(word, variables);
                text.push_str(&match (operator, set, filled) {
                    (Operator::Default | Operator::Required, Some(value), _)
                    | (Operator::DefaultIfEmpty | Operator::RequiredNotEmpty, _, Some(value)) => {
                        value.clone()
                    }
                    (Operator::Default | Operator::DefaultIfEmpty, _, _)
                    | (Operator::Other, Some(_), _)
                    | (Operator::OtherUnlessEmpty, _, Some(_)) => word()?,
                    (Operator::Other | Operator::OtherUnlessEmpty, _, _) => String::new(),
                    (Operator::Required | Operator::RequiredNotEmpty, _, _) => return Err(word()?),
                });
            }
        }
    }
    Ok(text)
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["A", "B", "_c1", "UNSET"]).prop_map(str::to_owned)
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let leaf = prop_oneof![
        "[a-z:/?+ -]{0,4}".prop_map(Part::Text),
        Just(Part::Text("{\"a\": 1}".to_owned())),
        Just(Part::Dollar),
        name().prop_map(Part::Plain),
        name().prop_map(Part::Braced),
    ];
    let operator = prop::sample::select(vec![
        Operator::Default,
        Operator::DefaultIfEmpty,
        Operator::Other,
        Operator::OtherUnlessEmpty,
        Operator::Required,
        Operator::RequiredNotEmpty,
    ]);
    let part = leaf.prop_recursive(4, 24, 4, move |inner| {
        let word = prop::collection::vec(inner, 0..4);
        (name(), operator.clone(), word)
            .prop_map(|(name, operator, word)| Part::Word(name, operator, word))
    });
    prop::collection::vec(part, 0..5)
}

fn variables() -> impl Strategy<Value = Variables> {
    let value = "[$a-z{}:?-]{0,5}";
    prop::collection::btree_map(prop::sample::select(vec!["A", "B", "_c1"]), value, 0..4)
        .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

proptest! {
    #[test]
    fn a_template_means_what_its_parts_mean(parts in parts(), variables in variables()) {
        let template = write(&parts);
        let lookup = |name: &str| variables.get(name).cloned();
        match (interpolate(&template, &lookup), value(&parts, &variables)) {
            (Ok((text, _)), expected) => prop_assert_eq!(Ok(text), expected),
            (Err(Fault::Required { message, .. }), expected) => {
                prop_assert_eq!(Err(message), expected);
            }
            (Err(fault), _) => prop_assert!(false, "{template:?}: {fault}"),
        }
    }

    #[test]
    fn a_dollar_doubled_is_itself(text in "\\PC{0,40}") {
        let doubled = text.replace('$', "$$");
        prop_assert_eq!(interpolate(&doubled, &|_| None), Ok((text, BTreeSet::new())));
    }

    #[test]
    fn any_text_is_a_template_or_a_fault_in_it(text in "[${}A:?+a-]{0,30}") {
        if let Err(fault) = interpolate(&text, &|_| None) {
            prop_assert!(text.contains(fault.part()));
        }
    }
}

#[test]
fn what_is_no_template_is_shown() {
    for (template, part) in [
        ("${}", "${}"),
        ("${1}", "${1}"),
        ("x ${A b} y", "${A b}"),
        ("${A", "${A"),
        ("${A:-${B}", "${A:-${B}"),
        ("${A:=b}", "${A:=b}"),
    ] {
        let fault = interpolate(template, &|_| None);
        assert_eq!(fault.map_err(|fault| fault.part()), Err(part), "{template}");
    }
}

#[test]
fn a_dollar_that_begins_no_variable_is_one() {
    for (template, value) in [
        ("a $ b", "a $ b"),
        ("cost: 5$", "cost: 5$"),
        ("$1", "$1"),
        ("${A:-$}", "$"),
    ] {
        let read = interpolate(template, &|_| None).map(|(value, _)| value);
        assert_eq!(read.as_deref(), Ok(value), "{template}");
    }
}

#[test]
fn nesting_ends() {
    let deep = "${A:-".repeat(1000) + &"}".repeat(1000);
    assert!(matches!(interpolate(&deep, &|_| None), Err(Fault::Deep(_))));
}

#[test]
fn variables_that_are_not_set_are_named_once() {
    let unset = interpolate("$A ${B} ${C:-c} $A", &|_| None).map(|(_, unset)| unset);
    assert_eq!(unset, Ok(BTreeSet::from(["A", "B"])));
}
