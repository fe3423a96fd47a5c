//! The tests, by name.

mod endings;
mod executions;
mod files;
mod isolation;
mod network;
mod output;
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

const TESTS: &[(&str, Test)] = tests![
    endings::a_program_runs_and_its_line_and_code_are_seen,
    endings::a_start_is_idempotent,
    endings::signals_reach_the_program_and_are_told,
    endings::an_end_is_announced,
    endings::what_cannot_run_is_told_in_words,
    endings::orphans_are_reaped,
    endings::pid_1_passes_signals_on,
    endings::an_image_is_refused_with_a_hint,
    endings::a_memory_limit_ends_the_program_and_is_told,
    endings::a_process_limit_holds,
    endings::a_frozen_instance_stands_still,
    endings::a_frozen_instance_can_be_removed,
    isolation::the_program_is_alone_with_its_pid_1,
    isolation::root_has_few_capabilities_and_gets_no_more,
    isolation::another_user_has_no_capabilities,
    isolation::what_administers_the_machine_is_refused,
    isolation::namespaces_are_its_own,
    isolation::the_machine_cannot_be_written,
    isolation::what_is_ours_is_not_seen,
    isolation::a_program_cannot_trace_its_pid_1,
    files::private_files_survive_a_restart_and_not_a_removal,
    files::volumes_persist_and_anonymous_ones_do_not,
    files::binds_are_as_the_file_says,
    files::written_files_are_read_and_not_written,
    files::memory_is_mounted_with_its_size_and_mode,
    files::a_read_only_root_leaves_volumes_writable,
    files::a_link_left_inside_leads_nowhere,
    files::the_usual_files_are_there,
    network::names_are_in_the_files_and_change_in_place,
    network::an_ambassador_is_there_before_the_program,
    network::a_listener_is_found_and_can_be_dialled,
    network::waiting_ends_with_the_instance,
    output::both_streams_and_long_lines_are_kept_whole,
    output::the_tail_and_the_lines_since_are_chosen,
    output::following_sees_new_instances_and_rotation,
    executions::a_command_runs_beside_the_program,
    executions::a_command_gets_a_terminal_with_a_name,
    executions::a_command_that_is_dropped_is_killed,
    executions::what_cannot_be_executed_is_told,
    survival::a_daemon_dies_and_the_next_has_everything,
    survival::hostile_frames_close_their_connection_only,
    survival::fifty_start_at_once,
    survival::a_spare_becomes_an_instance,
    survival::instances_die_with_the_keeper,
    survival::a_keeper_without_instances_does_not_wait_for_ever,
    survival::the_stations_of_a_start,
];

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
    // What a failed test left must not keep the keeper.
    for left in ports::Engine::observe(&*world.engine)
        .await
        .unwrap_or_default()
    {
        let _ = ports::Engine::remove(&*world.engine, &left.id).await;
    }
    let _ = ports::Engine::shut_down(&*world.engine).await;
    println!("{failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
