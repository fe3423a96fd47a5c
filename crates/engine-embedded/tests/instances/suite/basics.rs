//! Programs run, and what they say and how they end is seen.

use model::ExitStatus;

use crate::world::World;

pub(crate) async fn a_program_runs_and_its_line_and_code_are_seen(world: World) {
    let (status, lines) = world.run(&world.shell("echo hi; exit 3")).await;
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!((status, texts), (ExitStatus::Code(3), vec!["hi"]));
}
