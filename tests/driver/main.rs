//! The contract of `ringd::driver`, clause by clause, on every driver and on the simulator.
//!
//! One source of tests, one module for each subject, and one in it for Unix sockets: a driver that
//! needs an exception has a bug.
//! No test depends on speed: what must happen has a generous deadline, and what must not happen
//! is checked after something that certainly comes later.
//!
//! | clause of the contract | file |
//! | --- | --- |
//! | 1, 2, 5, 6, 8: ops and their ends | `sockets.rs`, `half_closed.rs`, `resets.rs`, `empty.rs` |
//! | 7: cancels | `cancels.rs`, `races.rs` |
//! | 3, 4, 9, 10, 11, 13: bounds | `limits.rs`, `crowds.rs`, `wakes.rs`, `fairness.rs` |
//! | 8: stale names, reused slots and descriptors | `reuse.rs` |
//! | 12: files | `files.rs`, `changes.rs`, `links.rs` |
//! | 12: jobs | `jobs.rs` |
//! | 14: drops | `drops.rs` |
//! | 15: closes of listeners | `closes.rs` |
//! | 16: listeners that another process holds too | `joint.rs` |
//! | all of them, with random ops | `model.rs` |
//! | Unix sockets, where they differ from TCP | `unix_sockets.rs` |
//! | what only a kernel has | `kernel_only.rs`, `interrupted.rs`, `segments.rs` |
//!
//! What a test may use of its subject is in `subject.rs`; `kernel.rs` and `simulated.rs`
//! implement it.

#[path = "../common/alone.rs"]
mod alone;
mod cancels;
mod changes;
mod closes;
mod crowds;
#[macro_use]
#[path = "../common/drivers.rs"]
mod drivers;
mod drops;
mod empty;
mod fairness;
mod files;
mod half_closed;
mod harness;
mod interrupted;
mod jobs;
mod joint;
mod kernel;
mod kernel_only;
mod limits;
mod links;
mod machine;
mod model;
#[path = "../common/ports.rs"]
mod ports;
mod races;
mod resets;
mod reuse;
mod segments;
mod simulated;
mod sockets;
mod subject;
mod unix_sockets;
mod wakes;

/// Expands to the tests of one subject. `$choose` runs before each of them.
macro_rules! each_test {
    ($choose:block, $subject:ty; $($file:ident: $($test:ident),*;)*) => {
        $($(
            #[test]
            fn $test() {
                $choose
                if crate::harness::works_here::<$subject>() {
                    <$subject as crate::subject::Subject>::run(crate::$file::$test::<$subject>);
                }
            }
        )*)*
    };
}

/// The tests of the contract: every subject has to pass them.
macro_rules! contract {
    ($choose:block, $subject:ty) => {
        each_test!($choose, $subject;
            sockets: each_op_ends_once, echo_keeps_every_byte, slow_reader_gets_memory,
                slow_reader_gets_a_file, slow_reader_gets_a_pipelined_chain,
                fin_ends_output_but_not_input, data_then_end_before_the_first_wait,
                end_without_data, reset_by_the_peer, close_during_receive,
                close_during_a_blocked_send,
                close_releases_the_listener, stale_socks_panic,
                second_op_on_a_side_panics, submit_after_close_panics,
                nothing_completes_before_the_wait, both_directions_at_once,
                input_shows_until_it_is_returned,
                acknowledged_follows_the_reader, drop_with_ops_in_flight, many_connections;
            half_closed: half_closed_slow_reader, half_closed_readers_in_turn,
                half_closed_reader_is_cancelled_or_closed;
            cancels: cancel_of_a_receive, cancel_of_a_blocked_send, cancel_of_an_accept,
                cancel_of_a_finished_op, cancel_spares_the_next_op,
                cancel_spares_the_next_send, cancel_of_a_send_that_was_just_submitted,
                a_failed_send_with_fin_sends_no_fin,
                receive_again_after_a_cancel, many_cancels, cancel_many_times,
                cancel_with_an_old_name;
            files: open_a_file, open_a_directory, open_a_missing_file,
                open_outside_of_the_root, read_a_whole_file,
                read_from_an_offset, read_beyond_the_end, read_appends,
                read_of_a_directory_fails, many_reads_that_fail, send_beyond_four_gibibytes,
                send_of_a_shrunk_file_fails, cancel_of_file_ops, file_ops_are_bounded;
            jobs: jobs_return_bytes_or_errors, a_job_that_panics_is_an_error, many_jobs_at_once,
                cancel_of_jobs, jobs_do_not_use_up_wakes, a_drop_releases_jobs;
            limits: wake_before_a_wait, wake_during_a_wait, wakes_coalesce,
                timeout_is_waited_for, buffers_run_out, waits_block_while_all_buffers_are_leased,
                one_flood_does_not_starve_others, idle_receives_do_not_hold_up_others,
                drop_before_the_first_wait, a_turn_is_bounded, a_full_table_refuses,
                descriptors_run_out, many_accepts_in_turns, idle_waits_do_not_spin;
            empty: empty_sends, empty_send_with_fin, empty_parts_of_a_chain, empty_files,
                empty_buffers, empty_connections;
            changes: truncated_while_it_is_sent, replaced_while_it_is_sent,
                deleted_while_it_is_sent, growing_while_it_is_sent, parts_of_a_larger_file,
                changed_while_it_is_read, replaced_while_it_is_opened, beyond_four_gibibytes;
            reuse: reuse_right_after_close, accepted_and_closed_at_once,
                stale_names_of_every_kind;
            resets: reset_during_a_starved_receive,
                reset_during_a_send_of_memory, reset_during_a_send_of_a_file,
                reset_during_a_close, reset_before_the_first_op, reset_before_the_accept,
                the_peer_ends_first, the_driver_ends_first, a_close_follows_the_last_send;
            drops: drop_with_every_op_in_flight, drop_with_unreturned_completions,
                leases_outlive_the_driver,
                lent_buffers_come_back, two_drivers_on_two_threads, files_are_released;
            wakes: no_wake_is_lost, many_threads_wake, work_goes_on_between_wakes,
                wakers_outlive_the_driver, timeouts_beside_quiet_ops,
                finished_ops_are_returned_at_once, no_answer_of_a_thread_is_lost;
            races: cancel_before_the_completion_is_returned, cancels_lose_no_byte,
                cancelled_sends_report_how_far_they_got, cancelled_accepts_lose_no_connection,
                cancel_races_with_the_end, cancel_ends_one_side;
            crowds: more_completions_than_a_queue_holds, more_received_than_a_queue_holds,
                a_thousand_ops_at_once, accepts_take_turns,
                an_accept_notices_that_room_becomes_short, no_starved_receive_is_forgotten,
                many_floods_take_turns, a_long_send_leaves_room_for_others;
            fairness: small_pages_beside_large_files;
            closes: close_delivers_the_queue, close_delivers_what_an_armed_accept_brings,
                close_with_reset_delivers_the_queue, close_without_an_accept,
                close_behind_a_cancelled_accept, cancel_while_the_queue_is_delivered,
                close_with_a_full_table, close_two_listeners_at_once, close_while_clients_come,
                a_closing_listener_accepts_no_new_connections,
                close_without_descriptors, drop_while_the_queue_is_delivered;
            joint: a_joint_listener_leaves_its_queue, a_joint_accept_delivers_what_it_has,
                a_joint_close_behind_a_cancelled_accept, a_listener_may_cease_to_be_joint,
                a_joint_accept_goes_on, new_clients_come_after_a_joint_close,
                a_joint_close_loses_no_report;
            model: random_ops_follow_the_model;
        );
    };
}

/// Tests of what Unix sockets do not have. Each comment gives the reason.
macro_rules! internet_only {
    ($choose:block, $subject:ty) => {
        each_test!($choose, $subject;
            // Resets: a Unix socket has an orderly end only, unless there is unread input.
            sockets: close_with_reset, reset_after_all_was_sent,
                // Addresses: its peers have none.
                both_ends_have_addresses;
            resets: reset_during_an_idle_receive;
        );
    };
}

/// Tests of Unix sockets: what differs from TCP, and what only the kernel has besides.
macro_rules! unix_only {
    ($choose:block, $subject:ty) => {
        each_test!($choose, $subject;
            unix_sockets: a_reset_ends_the_connection, a_reset_with_unread_input,
                ends_are_unix_sockets, a_close_reaches_the_peer,
                a_shared_listener_wakes_each_driver, a_shared_listener_is_closed_by_any,
                a_shared_listener_gives_one_at_a_time;
            kernel_only: adopting_is_refused_when_full, send_of_a_file_without_sendfile,
                send_of_cold_files, system_calls_are_few;
            closes: a_closing_listener_needs_no_privileges;
            joint: a_drop_leaves_joint_listeners, two_drivers_share_a_joint_listener;
            interrupted: interrupted_ops_go_on;
        );
    };
}

/// Tests of what the simulator does not have. Each comment gives the reason.
macro_rules! kernel_only {
    ($choose:block, $subject:ty) => {
        each_test!($choose, $subject;
            kernel_only:
                // Links, FIFOs: its files are names and bytes.
                open_through_links, open_a_fifo_without_waiting,
                // Addresses: its peers have none.
                peers_have_addresses, listeners_have_addresses,
                // Descriptors: it adopts none.
                close_reaches_the_peer_despite_duplicates, adopting_is_refused_when_full,
                close_of_a_listener_that_was_shut_down,
                // Urgent data (`MSG_OOB`): its peers send none.
                urgent_data_hides_nothing,
                accept_on_a_listener_made_non_blocking,
                // Files that a call refuses: it makes none.
                send_of_a_file_without_sendfile,
                // Slow disks: its files are in memory.
                send_of_cold_files, many_cold_file_ops,
                // System calls: it makes none.
                system_calls_are_few;
            // Jobs that wait: it runs them itself.
            jobs: a_long_job_does_not_stop_the_loop, cancel_of_a_job_that_has_begun,
                jobs_that_wait_are_bounded, drop_with_a_job_that_has_begun;
            // Capabilities: it has none.
            closes: a_closing_listener_needs_no_privileges,
                a_handshake_that_ends_during_a_close_is_served;
            // Other processes: it is alone.
            joint: a_drop_leaves_joint_listeners, two_drivers_share_a_joint_listener;
            // Long reads: its files are in memory, and it reads one in one step.
            limits: reads_of_files_take_turns;
            // Links: it has none.
            links: each_policy_has_its_links, magic_links_are_never_followed,
                a_directory_inherits_its_links;
            // Packets: its network has bytes.
            segments: the_end_shares_the_last_segment;
            // Signals: it makes no system call that a signal could interrupt.
            interrupted: interrupted_waits_keep_their_time, interrupted_ops_go_on;
        );
    };
}

/// Expands to one module per driver of the kernel.
macro_rules! drivers {
    ($($name:ident => $kind:ident,)*) => { $(
        mod $name {
            use crate::kernel::{Family, KernelDriver, choose};
            use ringd::driver::DriverKind;

            contract!({ choose(DriverKind::$kind, Family::Internet) }, KernelDriver);
            internet_only!({ choose(DriverKind::$kind, Family::Internet) }, KernelDriver);
            kernel_only!({ choose(DriverKind::$kind, Family::Internet) }, KernelDriver);

            mod unix {
                use super::*;

                contract!({ choose(DriverKind::$kind, Family::Unix) }, KernelDriver);
                unix_only!({ choose(DriverKind::$kind, Family::Unix) }, KernelDriver);
            }
        }
    )* };
}

with_each_driver!(drivers);

mod sim {
    contract!({}, ringd::driver::sim::Sim);
    internet_only!({}, ringd::driver::sim::Sim);
}
