//! What a client sees of `ringd`, on every driver.
//!
//! One source of tests, one module for each driver: the answers must not depend on how the bytes
//! are moved. No test depends on speed: what must happen has a generous deadline. After the
//! hostile ones the server answers as before, and holds nothing that it did not hold before.

#[path = "../common/mod.rs"]
mod common;
mod support;

mod basics;
mod changes;
mod codings;
mod conditional;
mod differential;
mod drain;
mod errors;
mod framing;
mod fuzz;
mod hostile;
mod large;
mod limits;
mod links;
mod listings;
mod paths;
mod pipelining;
mod ranges;
mod requests;
mod rules;
mod session;
mod urls;
mod watching;

/// Tests of how bytes are moved: one module for each driver, each with every test.
macro_rules! every_driver {
    ($($name:ident => $kind:ident,)*) => { $(
        mod $name {
            each_test!($kind;
                basics: files_arrive_byte_for_byte, head_has_the_fields_of_get_and_no_body,
                    a_page_has_every_field, a_common_client_is_served, the_answer_is_dated_now,
                    types_follow_names, many_connections_are_served;
                framing: bodies_are_thrown_away, a_long_body_ends_the_connection,
                    an_error_arrives_while_the_client_still_sends,
                    a_client_that_waits_for_100_gets_the_answer_instead,
                    old_clients_may_keep_the_connection, half_close_after_the_request,
                    a_late_request_gets_408, a_silent_connection_is_closed_without_a_word,
                    an_idle_connection_is_closed, trickling_does_not_extend_the_deadline;
                pipelining: answers_come_in_order, answers_to_a_slow_reader_are_complete,
                    requests_behind_a_large_file_wait_for_it, a_close_among_requests_ends_the_rest,
                    more_requests_than_the_inbox_holds;
                hostile: one_byte_at_a_time, a_client_that_never_reads_is_cut_off,
                    silent_connections_are_closed, resets_in_the_middle, many_generated_requests,
                    a_slow_reader_does_not_slow_others, the_process_gives_everything_back;
                changes: a_file_that_shrinks_ends_the_connection,
                    a_replaced_file_is_sent_to_its_end, a_deleted_file_is_sent_to_its_end,
                    a_changed_file_is_served_anew, a_file_that_appears_is_found,
                    a_page_may_be_forgotten_while_its_answer_waits;
                large: more_than_four_gibibytes_arrive;
                drain: requests_in_hand_are_finished, a_late_request_is_answered_with_close,
                    an_idle_connection_is_given_time, the_listener_refuses,
                    a_stuck_client_does_not_stop_the_end,
                    the_last_answer_survives_a_request_behind_it;
                limits: more_clients_than_connections, a_full_backlog_is_served,
                    a_free_place_is_taken;
                links: each_policy_follows_its_links, links_are_listed_if_they_can_be_followed,
                    a_root_behind_a_link_is_followed, a_root_that_is_renamed_is_followed,
                    a_directory_that_turns_into_a_link_shows_nothing;
                ranges: ranges_arrive_byte_for_byte, if_range_guards_ranges,
                    ranges_beyond_four_gibibytes, large_parts_arrive_in_order;
                watching: a_change_is_served_though_nothing_has_expired,
                    a_directory_that_moves_takes_its_files_along,
                    a_busy_directory_costs_others_nothing, a_change_behind_a_storm_is_served,
                    without_a_watch_the_time_counts;
            );
        }
    )* };
}

/// Tests of what is answered. The code that decides it is the same on every driver, so they run
/// on one proactor and one reactor; `differential.rs` compares the answers of all drivers.
macro_rules! two_drivers {
    ($($name:ident => $kind:ident,)*) => { $(
        mod $name {
            each_test!($kind;
                paths: a_directory_is_its_index, a_directory_without_its_slash_moves,
                    a_location_never_names_another_host, what_is_not_there_is_not_found,
                    hidden_names_are_not_found, the_well_known_directory_is_served,
                    what_is_no_file_is_not_found, nothing_outside_of_the_root_is_served,
                    an_unreadable_file_is_forbidden, names_are_decoded_once;
                requests: each_request_gets_its_answer;
                conditional: conditions_decide, conditions_need_something_to_be_about,
                    not_modified_has_its_fields, odd_times_validate_nothing;
                codings: the_client_s_weights_choose_the_coding, what_is_there_limits_the_choice,
                    ranges_are_of_the_coded_bytes, strangers_are_not_sent_in_its_place,
                    without_precompressed_files_are_what_they_are, a_coding_comes_and_goes;
                urls: the_first_index_that_is_there_counts, redirects_lead_where_they_should,
                    clean_addresses_find_their_pages, addresses_are_not_clean_unasked,
                    the_fallback_answers_navigations,
                    the_fallback_has_a_default_and_may_be_missing,
                    each_encoding_of_a_name_leads_to_it, only_one_hidden_name_is_served;
                listings: each_link_leads_to_its_file, entries_are_in_order,
                    many_entries_are_on_pages, what_is_not_served_is_not_listed,
                    listings_have_validators, head_of_a_listing_has_no_body,
                    the_client_chooses_the_format, nothing_is_listed_unasked,
                    a_listing_follows_its_directory;
                errors: errors_are_for_people_or_for_programs, nothing_is_reflected,
                    a_page_of_the_operator_s_is_the_body, an_error_s_page_has_codings,
                    a_root_may_bring_its_page, errors_keep_their_place,
                    an_error_s_page_comes_and_goes;
                rules: pages_and_data_are_revalidated, the_last_rule_for_caching_counts,
                    header_rules_merge, other_sites_may_read_if_they_may,
                    substitutes_have_the_fields_of_their_own_path;
            );
        }
    )* };
}

macro_rules! each_test {
    ($kind:ident; $($file:ident: $($test:ident),*;)*) => {
        $($(
            #[test]
            fn $test() {
                let kind = ringd::driver::DriverKind::$kind;
                if crate::common::runs_here(kind) {
                    crate::common::alone::with_descriptors(kind, || crate::$file::$test(kind));
                }
            }
        )*)*
    };
}

every_driver! {
    uring => Uring,
    epoll => Epoll,
    epoll_lt => EpollLevel,
    sigio => Sigio,
    poll => Poll,
    select => Select,
    spin => Spin,
    threads => Threads,
}

mod answers {
    two_drivers! {
        uring => Uring,
        epoll => Epoll,
    }
}
