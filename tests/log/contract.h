/* What every adapter of the log port must do, by the port alone. A test program includes this, says how to make a fresh
 * log of its kind, and runs CONTRACT_TESTS. */
#ifndef ORDERLOG_TESTS_LOG_CONTRACT_H
#define ORDERLOG_TESTS_LOG_CONTRACT_H

#include "tests/log/log_test.h"

#include "tests/log/contract_append.h"
#include "tests/log/contract_groups.h"
#include "tests/log/contract_read.h"
#include "tests/log/contract_topics.h"

#define CONTRACT_TESTS(TEST)                                                                                           \
    TEST(contract_topics_are_made_once)                                                                                \
    TEST(contract_topics_refuse_other_partitions)                                                                      \
    TEST(contract_topics_are_listed_by_name)                                                                           \
    TEST(contract_ids_stay)                                                                                            \
    TEST(contract_partitioner_is_kafkas)                                                                               \
    TEST(contract_offsets_are_contiguous)                                                                              \
    TEST(contract_deliveries_come_once_in_order)                                                                       \
    TEST(contract_keys_choose_partitions)                                                                              \
    TEST(contract_append_refuses_unknown_places)                                                                       \
    TEST(contract_headers_are_kept)                                                                                    \
    TEST(contract_null_is_not_empty)                                                                                   \
    TEST(contract_sizes_up_to_the_limit)                                                                               \
    TEST(contract_queue_is_bounded)                                                                                    \
    TEST(contract_producers_run_at_once)                                                                               \
    TEST(contract_close_delivers_all)                                                                                  \
    TEST(contract_records_survive_reopening)                                                                           \
    TEST(contract_timestamps_never_decrease)                                                                           \
    TEST(contract_offset_at_time)                                                                                      \
    TEST(contract_watermarks)                                                                                          \
    TEST(contract_ends_of_many)                                                                                        \
    TEST(contract_seek_back_and_forth)                                                                                 \
    TEST(contract_seek_out_of_range)                                                                                   \
    TEST(contract_nothing_before_seek)                                                                                 \
    TEST(contract_pause_until_seek)                                                                                    \
    TEST(contract_small_polls_see_all)                                                                                 \
    TEST(contract_records_stay_until_next_poll)                                                                        \
    TEST(contract_readers_are_independent)                                                                             \
    TEST(contract_large_partition_starves_none)                                                                        \
    TEST(contract_much_is_read_without_a_wait)                                                                         \
    TEST(contract_append_wakes_reader)                                                                                 \
    TEST(contract_notify_tells_of_records)                                                                             \
    TEST(contract_wake_ends_poll)                                                                                      \
    TEST(contract_many_partitions)                                                                                     \
    TEST(contract_one_member_gets_all)                                                                                 \
    TEST(contract_unknown_topic_cannot_be_joined)                                                                      \
    TEST(contract_members_split_partitions)                                                                            \
    TEST(contract_more_members_than_partitions)                                                                        \
    TEST(contract_groups_are_independent)                                                                              \
    TEST(contract_revoked_before_assigned)                                                                             \
    TEST(contract_handing_over_loses_nothing)                                                                          \
    TEST(contract_group_positions)

#endif
