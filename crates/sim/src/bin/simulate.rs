//! Runs the simulator over many seeds: `simulate [--seeds N] [--from S] [--transcript]`.
#![expect(
    clippy::print_stdout,
    reason = "what a run found is what this program is for"
)]

use std::process::ExitCode;

use sim::{Keep, Tally};

/// What the command line says.
struct Wish {
    seeds: u64,
    from: u64,
    keep: Keep,
}

fn main() -> ExitCode {
    let wish = match read(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(why) => {
            eprintln!("{why}\nusage: simulate [--seeds N] [--from S] [--transcript]");
            return ExitCode::from(2);
        }
    };
    let mut tally = Tally::default();
    for seed in wish.from..wish.from.saturating_add(wish.seeds) {
        match sim::run(seed, wish.keep) {
            Ok(finished) => {
                tally = tally.plus(finished.tally);
                for line in finished
                    .transcript
                    .iter()
                    .filter(|_| wish.keep == Keep::Everything)
                {
                    println!("{line}");
                }
            }
            Err(failed) => {
                println!("{tally}");
                println!("{failed}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{tally}");
    ExitCode::SUCCESS
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish {
        seeds: 200,
        from: 0,
        keep: Keep::Last,
    };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().unwrap_or_default();
            text.parse()
                .map_err(|_| format!("{argument} needs a number, and got {text:?}"))
        };
        match argument.as_str() {
            "--seeds" => wish.seeds = number()?,
            "--from" => wish.from = number()?,
            "--transcript" => wish.keep = Keep::Everything,
            _ => return Err(format!("no such option: {argument}")),
        }
    }
    Ok(wish)
}
