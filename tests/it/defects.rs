//! The known defects of redcache for Go v0.2 and the tests that fail if this crate has one of them.
//!
//! Measurements found the defects W1 to W31; a review found the defects a to g. Each test is in the
//! file that its path names, below `tests/it`.

use std::fs;
use std::path::Path;

/// A defect, its effect, and the tests that would fail.
const DEFECTS: &[(&str, &str, &[&str])] = &[
    (
        "W1",
        "a leader that is cancelled or fails leaves followers of nobody, who wait for a whole lock_ttl",
        &[
            "virtual_time::a_cancelled_leader_costs_no_time_in_its_process_or_another",
            "conformance::sharing::a_leader_that_panics_is_followed_by_the_next_in_line",
            "conformance::defects::a_failed_read_leaves_no_caller_waiting",
        ],
    ),
    (
        "W2",
        "a loader slower than its lock is run again without end, its value thrown away",
        &[
            "virtual_time::a_slow_load_keeps_its_lock",
            "processes::a_holder_that_was_frozen_beyond_its_lock_publishes_nothing_and_has_its_value",
        ],
    ),
    (
        "W3",
        "a key that a batch loader leaves out is loaded again and again",
        &["conformance::loads::a_batch_stores_missing_keys_as_not_found_and_ignores_extra_ones"],
    ),
    (
        "W5",
        "a flush or a lost connection wakes nobody",
        &[
            "conformance::waiting::a_flush_wakes_a_waiting_call",
            "conformance::waiting::a_killed_connection_wakes_a_waiting_call",
        ],
    ),
    (
        "W6",
        "a call that is cancelled while it takes a lock leaves the lock",
        &[
            "conformance::cancelling::a_call_that_is_cancelled_before_its_lock_is_granted_leaves_no_lock",
        ],
    ),
    (
        "W7",
        "a key that nobody asked for is written if it holds nothing but an empty string",
        &["conformance::defects::an_empty_value_of_an_unrequested_key_is_not_overwritten"],
    ),
    (
        "W8",
        "who joined a load that fails runs its own, one after the other",
        &["conformance::sharing::every_caller_that_joined_a_failed_load_gets_its_error"],
    ),
    (
        "W10",
        "without Redis every call hangs or fails, and what could be loaded is not",
        &[
            "conformance::trouble::a_server_that_dies_for_good_is_an_error_within_bounds",
            "conformance::defects::without_redis_one_caller_loads_for_all",
        ],
    ),
    (
        "W11",
        "a value that Redis refuses to store is lost to its caller too",
        &[
            "conformance::trouble::a_server_without_memory_for_the_value_costs_only_the_storing",
            "conformance::trouble::a_server_without_memory_for_the_lock_costs_only_the_storing",
        ],
    ),
    (
        "W12",
        "a batch loads a script for each key and goes through slots one by one",
        &[
            "conformance::budget::a_cold_batch_of_a_hundred_keys_is_two_pipelines",
            "conformance::set::a_write_costs_two_round_trips",
        ],
    ),
    (
        "W13",
        "the echo of an own lock wakes the own followers, who ask Redis once more",
        &["conformance::defects::a_hundred_callers_of_one_process_read_and_lock_once"],
    ),
    (
        "W14",
        "a deleted key that many want costs several reads and lock attempts of each",
        &["conformance::sharing::twenty_clients_on_one_deleted_key_stay_within_their_budget"],
    ),
    (
        "W15",
        "a new time to live is taken for a change that no near cache hears of",
        &[
            "conformance::writes::a_touch_moves_the_end_of_values_and_of_nothing_else",
            "conformance::go::a_touch_by_go_reaches_our_near_cache",
        ],
    ),
    (
        "W16",
        "a batch loads nothing before its last lock is free",
        &[
            "conformance::defects::a_key_that_becomes_free_is_loaded_while_another_is_still_waited_for",
            "conformance::sharing::a_batch_loads_the_free_keys_while_others_load_the_rest",
        ],
    ),
    (
        "W17",
        "readers who have nothing to load with are held up by a write",
        &["conformance::defects::a_read_without_a_loader_does_not_wait_for_a_write"],
    ),
    (
        "W18",
        "a write whose callback panics leaves its lock and loses the old value",
        &["conformance::set::a_write_whose_loader_panics_restores_the_old_value"],
    ),
    (
        "W19",
        "the lock of a holder that died is waited for until the own timer ends, however soon it expires",
        &[
            "conformance::defects::a_lock_that_redis_does_not_expire_by_itself_is_waited_for_no_longer_than_it_lives",
            "processes::the_killed_holder_of_a_lock_is_waited_for_no_longer_than_its_lock_lives",
        ],
    ),
    (
        "W20",
        "every hit leaves an entry and a timer for as long as a lock would live",
        &["conformance::defects::hits_leave_nothing_behind"],
    ),
    (
        "W21",
        "one key of a wrong type fails its whole batch",
        &[
            "conformance::values::a_hash_under_the_key_is_an_error_that_names_it_and_the_rest_of_the_batch_is_fine",
        ],
    ),
    (
        "W22",
        "every read of Redis costs five commands",
        &["conformance::budget::a_hit_in_redis_is_a_get_and_a_pttl"],
    ),
    (
        "W23",
        "keys are texts, and who listens to the client's own news is silently replaced",
        &[
            "conformance::values::any_bytes_are_a_key_and_a_value",
            "conformance::connecting::a_resp2_server_is_polled_with_one_notice",
        ],
    ),
    (
        "W24",
        "a batch with one error gives nothing, and one that writes less than it was asked to says nothing",
        &[
            "conformance::loads::a_failed_batch_load_fails_only_the_keys_that_it_was_asked_for",
            "conformance::set::a_batch_writes_every_key_once",
        ],
    ),
    (
        "W25",
        "what the lock attempt has shown is read once more",
        &["conformance::budget::a_hit_in_redis_is_a_get_and_a_pttl"],
    ),
    (
        "W27",
        "a loader that asks for its own key waits for itself",
        &["conformance::defects::a_loader_that_asks_for_its_own_key_ends_in_an_error"],
    ),
    (
        "W29",
        "a key that stands twice in a batch can be locked twice, and one lock stays",
        &["conformance::defects::a_key_that_a_batch_names_twice_is_locked_once"],
    ),
    (
        "W31",
        "what Redis answered is called an answer of the near cache",
        &["conformance::reads::a_value_of_redis_is_near_from_its_first_read_on"],
    ),
    (
        "W4",
        "a refresh puts an outdated value in the place of a newer one",
        &[
            "conformance::refresh::a_value_that_changed_during_a_refresh_is_left_alone",
            "conformance::refresh::a_value_that_was_removed_during_a_refresh_stays_removed",
        ],
    ),
    (
        "W9",
        "a refresh that waits in a queue loads what another process has just refreshed",
        &[
            "conformance::refresh::queued_refreshes_of_several_clients_load_each_key_once",
            "conformance::refresh::eight_clients_refresh_a_key_once",
        ],
    ),
    (
        "W26",
        "a value that lives shorter than its reader assumes is refreshed at once",
        &["conformance::refresh::a_ttl_of_the_loaders_own_is_no_reason_to_refresh_again_and_again"],
    ),
    (
        "W28",
        "a slow refresh deletes the refresh lock of somebody else",
        &["conformance::refresh::the_refresh_lock_of_another_client_is_left_alone"],
    ),
    (
        "W30",
        "what waits in the queue is loaded however old it has become",
        &["conformance::refresh::a_key_that_changed_in_the_queue_is_not_loaded"],
    ),
    (
        "a",
        "a new time to live is taken for a change that nobody hears of, and as W4",
        &[
            "conformance::writes::a_touch_moves_the_end_of_values_and_of_nothing_else",
            "conformance::refresh::a_value_that_changed_during_a_refresh_is_left_alone",
        ],
    ),
    ("b", "as W28", &["conformance::refresh::the_refresh_lock_of_another_client_is_left_alone"]),
    ("c", "as W5", &["conformance::waiting::a_flush_wakes_a_waiting_call"]),
    (
        "d",
        "a loader is run without end, as in W2 and W3",
        &[
            "virtual_time::a_slow_load_keeps_its_lock",
            "conformance::loads::a_batch_stores_missing_keys_as_not_found_and_ignores_extra_ones",
        ],
    ),
    (
        "e",
        "a lock of somebody else that never ends is waited for without end",
        &["conformance::waiting::a_lock_that_never_ends_is_waited_for_once_and_never_overwritten"],
    ),
    (
        "f",
        "as W7",
        &["conformance::defects::an_empty_value_of_an_unrequested_key_is_not_overwritten"],
    ),
    (
        "g",
        "the refresh lock of a key with braces is in another slot than the key, and used as if it were not",
        &["conformance::refresh::the_holder_of_the_refresh_lock_refreshes_alone"],
    ),
];

#[test]
fn every_defect_has_a_test_that_would_notice_it() {
    let known: Vec<_> = DEFECTS.iter().map(|(name, ..)| *name).collect();
    let expected = (1..=31).map(|number| format!("W{number}"));
    let expected = expected.chain(('a'..='g').map(String::from));
    for name in expected {
        assert_eq!(known.iter().filter(|known| **known == name).count(), 1, "{name}");
    }
    assert_eq!(known.len(), 31 + 7);
}

#[test]
fn the_tests_that_notice_defects_exist() {
    for (name, what, tests) in DEFECTS {
        assert!(!tests.is_empty() && !what.is_empty(), "{name} has no test");
        for test in *tests {
            assert!(exists(test), "{name}: there is no {test}");
        }
    }
    assert!(!exists("conformance::defects::nothing_of_the_kind"));
    assert!(!exists("conformance::defects::names"), "a function that is no test");
}

/// Return whether the file of its module has a scenario or test.
fn exists(test: &str) -> bool {
    let (module, name) = test.rsplit_once("::").unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("it");
    let text = fs::read_to_string(folder.join(module.replace("::", "/") + ".rs")).unwrap();
    let is_listed = [format!("\n    {name},\n"), format!("[{name},")];
    let marked = format!("#[test]\nfn {name}()");
    is_listed.iter().any(|listed| text.contains(listed)) || text.contains(&marked)
}
