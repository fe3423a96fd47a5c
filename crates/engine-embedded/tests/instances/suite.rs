//! The tests, by name.

pub(crate) mod basics;
pub(crate) mod survival;

use std::pin::Pin;
use std::process::ExitCode;

use crate::world::World;

type Test = fn(World) -> Pin<Box<dyn Future<Output = ()>>>;

/// Names a test and boxes it.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((stringify!($name), |world| Box::pin($module::$name(world)))),*]
    };
}

const TESTS: &[(&str, Test)] = tests![basics::a_program_runs_and_its_line_and_code_are_seen,];

/// Runs every test whose name has one of the arguments in it.
pub(crate) async fn run(world: World) -> ExitCode {
    let wished: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let mut failed = 0;
    let shortcomings = ports::Engine::shortcomings(&*world.engine);
    for shortcoming in shortcomings {
        println!("shortcoming: {shortcoming}");
    }
    for (name, test) in TESTS {
        if !wished.is_empty() && !wished.iter().any(|w| name.contains(w.as_str())) {
            continue;
        }
        let world = world.clone();
        let outcome = tokio::task::LocalSet::new()
            .run_until(async { tokio::task::spawn_local(test(world)).await })
            .await;
        println!(
            "{name} ... {}",
            if outcome.is_ok() { "ok" } else { "FAILED" }
        );
        failed += u32::from(outcome.is_err());
    }
    println!("{failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
