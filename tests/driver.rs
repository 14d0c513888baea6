//! The contract of `ringd::driver`, line by line, on every driver.
//!
//! One source of tests, one module for each driver: a driver that needs an exception has a bug.
//! The peers are sockets of `std::net`, in threads of their own where they have to block. No test
//! depends on speed: what must happen has a generous deadline, what must not is looked for after
//! something that comes later for certain.

#[path = "driver/cancels.rs"]
mod cancels;
#[path = "driver/files.rs"]
mod files;
#[path = "driver/half_closed.rs"]
mod half_closed;
#[path = "driver/harness.rs"]
mod harness;
#[path = "driver/limits.rs"]
mod limits;
#[path = "driver/sockets.rs"]
mod sockets;

/// Expands to one module per driver, each with every test.
macro_rules! drivers {
    ($($name:ident => $open:expr,)*) => { $(
        mod $name {
            each_test!($open;
                sockets: each_op_ends_once, echo_keeps_every_byte, slow_reader_gets_memory,
                    slow_reader_gets_a_file, slow_reader_gets_a_pipelined_chain,
                    fin_ends_output_but_not_input, data_then_end_before_the_first_wait,
                    end_without_data, reset_by_the_peer, close_during_receive,
                    close_during_a_blocked_send, close_with_reset, reset_after_all_was_sent,
                    close_releases_the_listener,
                    close_leaves_duplicates_told, stale_socks_panic,
                    second_op_on_a_side_panics, submit_after_close_panics,
                    nothing_completes_before_the_wait, both_directions_at_once,
                    peer_and_acknowledged, drop_with_ops_in_flight, many_connections;
                half_closed: half_closed_slow_reader, half_closed_reader_is_given_up;
                cancels: cancel_of_a_receive, cancel_of_a_blocked_send, cancel_of_an_accept,
                    cancel_of_a_finished_op, cancel_spares_the_next_op,
                    receive_again_after_a_cancel, many_cancels, cancel_many_times,
                    cancel_with_an_old_name;
                files: open_a_file, open_a_directory, open_what_is_missing,
                    open_outside_of_the_root, open_a_fifo_without_waiting, read_a_whole_file,
                    read_from_an_offset, read_beyond_the_end, read_appends,
                    read_of_a_directory_fails, send_beyond_four_gibibytes,
                    send_of_a_shrunk_file_fails, send_of_cold_files, many_file_ops,
                    cancel_of_file_ops;
                limits: wake_before_a_wait, wake_during_a_wait, wakes_become_one,
                    timeout_is_waited_for, buffers_run_out, no_buffer_for_an_idle_loop,
                    one_flood_does_not_starve_others, idle_receives_do_not_hold_up_others,
                    drop_before_the_first_wait, a_turn_is_bounded,
                    a_full_table_refuses, adopting_is_refused_when_full,
                    descriptors_run_out, many_accepts_in_turns, system_calls_are_few,
                    idle_waits_do_not_spin;
            );
        }
    )* };
}

macro_rules! each_test {
    ($open:expr; $($file:ident: $($test:ident),*;)*) => {
        $($(
            #[test]
            fn $test() {
                if crate::harness::works_here($open) {
                    crate::$file::$test($open);
                }
            }
        )*)*
    };
}

drivers! {
    uring => ringd::driver::uring::Uring::open,
    epoll => ringd::driver::ready::Epoll::open,
    epoll_lt => ringd::driver::ready::EpollLevel::open,
}
