//! `ringd` as a client sees it, on every driver.
//!
//! One source of tests, one module for each driver: the answers must not depend on how bytes are
//! moved. No test depends on speed: what must happen has a generous deadline. After each test
//! with hostile clients, the server must still answer and must not hold more than before.

#[path = "../common/mod.rs"]
mod common;
#[macro_use]
#[path = "../common/drivers.rs"]
mod drivers;
mod support;
#[cfg(feature = "tls")]
#[path = "../common/tls.rs"]
mod tls;

mod access;
mod access_log;
mod basics;
mod changes;
mod codings;
mod compressed_forms;
mod compression;
mod conditional;
mod differential;
mod drain;
mod encoded;
mod errors;
mod events;
mod fallback_root;
mod framing;
mod fuzz;
mod hostile;
mod http2;
mod large;
mod limits;
mod links;
mod listings;
mod listings_shared;
mod own_answers;
mod paths;
mod pipelining;
mod proxied;
mod ranges;
mod redirects;
mod reload;
mod requests;
mod rewrites;
mod rules;
#[cfg(feature = "tls")]
mod secure;
mod session;
mod sites;
mod tags;
mod urls;
mod watching;

/// Tests of how bytes are moved.
macro_rules! moves {
    ($kind:ident, $within:expr) => {
        each_test!($kind, $within;
            basics: files_arrive_byte_for_byte, head_has_the_fields_of_get_and_no_body,
                a_page_has_every_field, the_date_is_current,
                types_follow_names, many_connections_are_served;
            framing: input_behind_the_last_request_does_not_cut_its_answer,
                bodies_are_discarded, a_long_body_ends_the_connection,
                what_is_no_trailer_ends_the_connection,
                an_error_arrives_while_the_client_still_sends,
                a_client_that_waits_for_100_gets_the_answer_instead,
                old_clients_may_keep_the_connection, half_close_after_the_request,
                a_late_request_gets_408, blank_lines_are_no_request,
                a_silent_connection_is_closed_without_an_answer,
                an_idle_connection_is_closed, trickling_does_not_extend_the_deadline;
            pipelining: answers_come_in_order, answers_to_a_slow_reader_are_complete,
                requests_behind_a_large_file_wait_for_it, a_close_among_requests_ends_the_rest,
                more_requests_than_the_inbox_holds;
            hostile: one_byte_at_a_time, a_client_that_never_reads_is_cut_off,
                silent_connections_are_closed, resets_in_the_middle, many_generated_requests,
                a_slow_reader_does_not_slow_others;
            changes: a_file_that_shrinks_ends_the_connection,
                a_replaced_file_is_sent_to_its_end, a_deleted_file_is_sent_to_its_end,
                a_changed_file_is_served_anew, a_file_that_appears_is_found,
                a_page_may_be_evicted_while_its_answer_waits;
            compression: a_compressed_site_answers_as_one_with_sidecars,
                the_second_request_has_a_file_compressed, only_what_is_worth_it_is_compressed,
                workers_share_the_results, a_file_that_changes_is_compressed_anew,
                a_reload_turns_it_on_and_off, what_is_sent_may_be_evicted,
                http2_has_the_same_answers;
            compressed_forms: what_is_compressed_by_name_stays_as_it_is, tags_may_be_off,
                errors_stay_plain;
            access_log: every_response_has_a_line, refused_heads_have_lines,
                a_head_that_does_not_end_has_a_line,
                a_response_that_is_cut_off_says_so, json_lines_have_all_values,
                a_log_that_is_renamed_is_made_anew,
                a_request_whose_client_leaves_is_abandoned, probes_have_no_line,
                long_values_show_that_they_are_cut;
            events: the_cause_of_a_403_is_told, a_file_that_shrinks_is_told,
                a_client_that_leaves_is_no_event, what_a_drain_cuts_off_is_told,
                a_full_server_is_told;
            drain: a_drain_is_announced_before_it_begins, timeouts_may_be_endless,
                requests_in_progress_are_finished,
                stalled_requests_do_not_hold_the_drain,
                a_late_request_is_answered_with_close,
                an_idle_connection_is_given_time, the_listener_refuses,
                a_stuck_client_does_not_prevent_the_end,
                the_last_answer_survives_a_request_behind_it,
                an_answer_that_is_still_being_read_is_not_cut;
            reload: connections_stay_and_get_the_new_site, listeners_come_and_go,
                an_update_that_fails_changes_nothing, timeouts_change,
                an_update_makes_nothing_before_it_applies,
                an_address_widens_and_narrows, the_end_of_a_server_leaves_no_socket;
            listings_shared: other_clients_wait_for_one_listing_of_each,
                a_directory_is_closed_though_nobody_asks;
            own_answers: own_answers_come_before_files;
            http2: both_versions_answer_alike, a_drain_completes_streams,
                a_drain_ends_idle_connections, a_reload_is_not_noticed,
                pings_do_not_keep_idle_connections,
                each_stream_has_its_line, lines_of_http2_are_those_of_nginx,
                streams_whose_client_leaves_are_abandoned;
            access: a_password_is_asked_for, errors_have_their_page,
                requests_wait_for_a_check_together, wrong_passwords_are_limited,
                a_reload_changes_the_users,
                streams_of_http2_need_a_password_each, the_log_names_users,
                a_client_gets_its_rate, streams_of_http2_count_once, workers_share_a_rate,
                a_connection_has_its_pace, a_refused_request_stays_refused,
                a_refused_password_counts_once,
                permanent_redirects_are_not_kept;
            proxied: the_header_names_the_client, bad_headers_are_no_connections,
                a_header_may_come_in_any_pieces, silent_proxies_are_closed_in_time,
                other_peers_are_closed_unread, denied_clients_are_closed,
                http2_follows_a_header, the_field_names_the_client_of_each_request,
                the_field_counts_behind_a_header, a_site_refuses_denied_clients;
            limits: more_clients_than_connections;
            links: each_policy_follows_its_links, links_are_listed_if_they_can_be_followed,
                a_root_behind_a_link_is_followed, a_root_that_is_renamed_is_followed,
                a_directory_that_turns_into_a_link_shows_nothing;
            encoded: names_decide_coding_and_type, few_names_have_a_coding_by_default,
                http2_has_the_same_codings;
            fallback_root: assets_of_the_previous_release_are_found;
            tags: copies_have_the_same_tags_of_content, a_tag_of_content_follows_the_bytes,
                without_tags_dates_decide, both_versions_have_the_tag_of_content;
            ranges: ranges_arrive_byte_for_byte, if_range_guards_ranges,
                ranges_beyond_four_gibibytes, large_parts_arrive_in_order;
            watching: a_change_is_served_though_nothing_has_expired,
                a_directory_that_moves_takes_its_files_along,
                a_busy_directory_does_not_expire_others, a_change_behind_a_storm_is_served,
                without_a_watch_entries_are_valid_for_their_time;
        );
    };
}

/// The same, without TLS: the client is another program, or sends before it is accepted, which is
/// no time for a handshake.
macro_rules! plain_moves {
    ($kind:ident) => {
        each_test!($kind, |test: &dyn Fn()| test();
            proxied: a_request_may_come_with_its_header;
            basics: a_common_client_is_served;
            hostile: the_process_releases_everything;
            large: more_than_four_gibibytes_arrive;
            reload: a_full_server_closes_a_listener;
            limits: a_full_backlog_is_served, a_free_connection_is_reused;
        );
    };
}

/// Tests of the answers. The code that decides them is the same on every driver, so they run on
/// one proactor and one reactor; `differential.rs` compares the answers of all drivers.
macro_rules! answers {
    ($kind:ident, $within:expr) => {
        each_test!($kind, $within;
            paths: a_directory_is_its_index, a_directory_without_its_slash_redirects,
                a_location_never_names_another_host, missing_files_are_not_found,
                hidden_names_are_not_found, the_well_known_directory_is_served,
                special_files_are_not_found, nothing_outside_of_the_root_is_served,
                an_unreadable_file_is_forbidden, names_are_decoded_once,
                a_location_survives_a_prefix, bytes_above_ascii_may_be_sent_raw;
            requests: each_request_gets_its_answer;
            conditional: conditions_decide, conditions_apply_to_successful_answers_only,
                not_modified_has_its_fields, odd_times_validate_nothing;
            codings: the_weights_of_the_client_choose_the_coding,
                only_codings_that_exist_are_chosen,
                ranges_are_of_the_coded_bytes, a_date_does_not_mix_codings,
                files_with_similar_names_are_not_codings,
                without_precompressed_every_file_is_plain, a_coding_comes_and_goes;
            urls: the_first_index_that_exists_is_served, redirects_lead_where_they_should,
                clean_urls_find_their_pages, clean_urls_are_off_by_default,
                the_fallback_answers_navigations,
                the_fallback_has_a_default_and_may_be_missing,
                each_encoding_of_a_name_leads_to_it, only_one_hidden_name_is_served;
            listings: each_link_leads_to_its_file, entries_are_in_order,
                many_entries_are_split_into_pages, files_that_are_not_served_are_not_listed,
                listings_have_validators, head_of_a_listing_has_no_body,
                the_client_chooses_the_format, listings_are_off_by_default,
                a_listing_follows_its_directory;
            errors: errors_are_html_or_json, errors_reflect_no_input,
                an_error_page_is_the_body, an_error_page_has_codings,
                a_404_page_in_the_root_needs_no_option, errors_keep_their_place,
                an_error_page_comes_and_goes;
            rules: pages_and_data_are_revalidated, the_last_rule_for_caching_applies,
                header_rules_merge, other_sites_may_read_if_configured,
                substitutes_have_the_fields_of_their_own_path;
            rewrites: a_redirect_leads_elsewhere, a_rewrite_serves_another_file,
                one_page_answers_navigations_to_many_paths, a_rewrite_may_be_an_error,
                site_files_are_hidden_where_they_are_read;
        );
    };
}

/// One module for each driver, each with every test of how bytes are moved.
macro_rules! every_driver {
    ($($name:ident => $kind:ident,)*) => { $(
        mod $name {
            moves!($kind, |test: &dyn Fn()| test());
            plain_moves!($kind);

            #[cfg(feature = "tls")]
            mod tls {
                each_test!($kind, |test: &dyn Fn()| test();
                    secure: a_listener_redirects_to_https,
                        browsers_are_asked_for_https_over_tls_only,
                        a_trusted_proxy_says_whether_clients_use_https,
                        a_host_that_the_handshake_has_not_named_is_misdirected,
                        lines_say_what_protects_the_connection, handshakes_that_fail_are_told,
                        a_reload_keeps_the_protection_of_connections;
                );
            }

            /// Over a Unix socket.
            mod unix {
                each_test!($kind, crate::support::fixture::over_unix;
                    basics: files_arrive_byte_for_byte, head_has_the_fields_of_get_and_no_body,
                        many_connections_are_served;
                    framing: bodies_are_discarded, an_error_arrives_while_the_client_still_sends,
                        half_close_after_the_request, an_idle_connection_is_closed;
                    pipelining: answers_come_in_order, answers_to_a_slow_reader_are_complete,
                        requests_behind_a_large_file_wait_for_it,
                        more_requests_than_the_inbox_holds;
                    hostile: a_client_that_never_reads_is_cut_off, resets_in_the_middle,
                        a_slow_reader_does_not_slow_others, many_generated_requests;
                    access_log: every_response_has_a_line, a_response_that_is_cut_off_says_so;
                    events: a_file_that_shrinks_is_told, what_a_drain_cuts_off_is_told;
                    changes: a_file_that_shrinks_ends_the_connection,
                        a_replaced_file_is_sent_to_its_end;
                    drain: requests_in_progress_are_finished, the_listener_refuses,
                        a_stuck_client_does_not_prevent_the_end,
                        the_last_answer_survives_a_request_behind_it;
                    limits: more_clients_than_connections, a_free_connection_is_reused;
                    ranges: ranges_arrive_byte_for_byte, large_parts_arrive_in_order;
                );
            }
        }
    )* };
}

/// Expands to tests, which `$within` calls.
macro_rules! each_test {
    ($kind:ident, $within:expr; $($file:ident: $($test:ident),*;)*) => {
        $($(
            #[test]
            fn $test() {
                let kind = ringd::driver::DriverKind::$kind;
                if crate::common::runs_here(kind) {
                    crate::common::alone::with_descriptors(kind, || {
                        ($within)(&|| crate::$file::$test(kind));
                    });
                }
            }
        )*)*
    };
}

with_each_driver!(every_driver);

mod answers {
    mod uring {
        answers!(Uring, |test: &dyn Fn()| test());
    }

    mod epoll {
        answers!(Epoll, |test: &dyn Fn()| test());
    }
}

/// All of it over TLS, on a proactor, a reactor and blocking threads.
mod https {
    macro_rules! over_tls {
        ($($name:ident => $kind:ident,)*) => { $(
            mod $name {
                moves!($kind, crate::support::tls::over_tls);
                answers!($kind, crate::support::tls::over_tls);
            }
        )* };
    }

    over_tls! {
        uring => Uring,
        epoll => Epoll,
        threads => Threads,
    }
}
