/* Groups within this process: the range assignor, and handing over a partition only once its owner has let it go.
 *
 * Each slot (a partition that the group reads) has an owner and the member that should have it. A member's poll gives
 * up what it owns and should not, calls `revoked`, frees those slots, and takes what it should have and is free. */
#include "core/log/sqlite_internal.h"

#include <stdlib.h>

static struct sqlog_group *group_find(struct sqlog *log, struct str name) {
    for (struct sqlog_group *group = log->groups; group; group = group->next)
        if (str_eq(str_from(group->name), name))
            return group;
    struct sqlog_group *group = mem_zalloc(sizeof *group);
    group->name = mem_strdup(name);
    group->next = log->groups;
    log->groups = group;
    return group;
}

void sqlog_groups_free(struct sqlog *log) {
    while (log->groups) {
        struct sqlog_group *group = log->groups;
        log->groups = group->next;
        free(group->name);
        free(group->slots);
        free(group->positions);
        free(group);
    }
}

static bool reads_topic(const struct sqlog_consumer *member, const struct sqlog_topic *topic) {
    for (size_t i = 0; i < member->topic_count; i++)
        if (member->topics[i] == topic)
            return true;
    return false;
}

/* The range assignor: each topic's partitions in order to its readers in order, the first ones get one more. Members
 * that read the same topics with the same number of partitions get the same numbers of each. */
static struct sqlog_consumer *range_target(const struct sqlog_group *group, const struct sqlog_partition *partition) {
    int32_t readers = 0, count = partition->topic->info.partitions;
    for (struct sqlog_consumer *member = group->members; member; member = member->next_member)
        readers += reads_topic(member, partition->topic);
    int32_t nth = 0;
    for (struct sqlog_consumer *member = group->members; member; member = member->next_member) {
        if (!reads_topic(member, partition->topic))
            continue;
        nth++;
        int32_t end = count / readers * nth + (nth < count % readers ? nth : count % readers);
        if (partition->index < end)
            return member;
    }
    return NULL;
}

static void member_rebalance(struct sqlog_consumer *member) {
    member->rebalance = true;
    sqlog_consumer_signal(member);
}

static void group_assign(struct sqlog_group *group) {
    for (size_t i = 0; i < group->slot_count; i++)
        group->slots[i].target = range_target(group, group->slots[i].partition);
    for (struct sqlog_consumer *member = group->members; member; member = member->next_member)
        member_rebalance(member);
}

static void group_add_slots(struct sqlog_group *group, struct sqlog_topic *topic) {
    for (size_t i = 0; i < group->slot_count; i++)
        if (group->slots[i].partition->topic == topic)
            return;
    size_t count = group->slot_count + (size_t)topic->info.partitions;
    group->slots = mem_realloc(group->slots, count * sizeof group->slots[0]);
    for (int32_t i = 0; i < topic->info.partitions; i++)
        group->slots[group->slot_count++] = (struct sqlog_slot){.partition = &topic->partitions[i]};
}

void sqlog_group_join(struct sqlog_consumer *consumer, struct str name) {
    struct sqlog *log = sqlog_of(consumer->base.log);
    pthread_mutex_lock(&log->mutex);
    struct sqlog_group *group = consumer->group = group_find(log, name);
    struct sqlog_consumer **end = &group->members;
    while (*end)
        end = &(*end)->next_member;
    *end = consumer;
    for (size_t i = 0; i < consumer->topic_count; i++)
        group_add_slots(group, consumer->topics[i]);
    group_assign(group);
    pthread_mutex_unlock(&log->mutex);
}

/* ---- handing over ---- */

/* The partitions of the slots that `wanted` picks, taken (or marked free) as it does. */
struct partitions {
    struct sqlog_partition **items;
    struct log_partition *names; /* for the listener */
    size_t count;
};

static void partitions_init(struct partitions *partitions, size_t cap) {
    *partitions = (struct partitions){mem_alloc((cap + 1) * sizeof partitions->items[0]),
                                      mem_alloc((cap + 1) * sizeof partitions->names[0]), 0};
}

static void partitions_add(struct partitions *partitions, struct sqlog_partition *partition) {
    partitions->items[partitions->count] = partition;
    partitions->names[partitions->count++] = (struct log_partition){partition->topic->info.name, partition->index};
}

static void partitions_free(struct partitions *partitions) {
    free(partitions->items);
    free(partitions->names);
}

static struct partitions slots_to_give(const struct sqlog_consumer *consumer) {
    struct partitions partitions;
    const struct sqlog_group *group = consumer->group;
    partitions_init(&partitions, group->slot_count);
    for (size_t i = 0; i < group->slot_count; i++)
        if (group->slots[i].owner == consumer && group->slots[i].target != consumer)
            partitions_add(&partitions, group->slots[i].partition);
    return partitions;
}

/* ret_none: there is none for this member, not even one that another has yet to give. */
static struct partitions slots_take(struct sqlog_consumer *consumer, bool *ret_none) {
    struct partitions partitions;
    struct sqlog_group *group = consumer->group;
    partitions_init(&partitions, group->slot_count);
    *ret_none = true;
    for (size_t i = 0; i < group->slot_count; i++) {
        struct sqlog_slot *slot = &group->slots[i];
        if (slot->target != consumer)
            continue;
        *ret_none = false;
        if (!slot->owner) {
            slot->owner = consumer;
            partitions_add(&partitions, slot->partition);
        }
    }
    return partitions;
}

static void slots_free(struct sqlog_group *group, const struct partitions *partitions) {
    for (size_t i = 0; i < group->slot_count; i++)
        for (size_t k = 0; k < partitions->count; k++)
            if (group->slots[i].partition == partitions->items[k]) {
                group->slots[i].owner = NULL;
                if (group->slots[i].target)
                    member_rebalance(group->slots[i].target);
            }
}

static bool give(struct sqlog_consumer *consumer, const struct partitions *partitions) {
    if (!partitions->count)
        return false;
    for (size_t i = 0; i < partitions->count; i++)
        sqlog_read_remove(consumer, partitions->items[i]);
    if (consumer->listener.revoked)
        consumer->listener.revoked(consumer->listener.user, partitions->names, partitions->count, false);
    return true;
}

static bool receive(struct sqlog_consumer *consumer, const struct partitions *partitions, bool none) {
    if (!partitions->count && !none)
        return false;
    for (size_t i = 0; i < partitions->count; i++)
        sqlog_read_add(consumer, partitions->items[i]);
    if (consumer->listener.assigned)
        consumer->listener.assigned(consumer->listener.user, partitions->names, partitions->count);
    return true;
}

bool sqlog_group_step(struct sqlog_consumer *consumer) {
    struct sqlog *log = sqlog_of(consumer->base.log);
    pthread_mutex_lock(&log->mutex);
    if (!consumer->rebalance) {
        pthread_mutex_unlock(&log->mutex);
        return false;
    }
    consumer->rebalance = false;
    struct partitions given = slots_to_give(consumer);
    pthread_mutex_unlock(&log->mutex);

    bool called = give(consumer, &given);

    pthread_mutex_lock(&log->mutex);
    slots_free(consumer->group, &given);
    bool none;
    struct partitions taken = slots_take(consumer, &none);
    pthread_mutex_unlock(&log->mutex);

    called |= receive(consumer, &taken, none);
    partitions_free(&given);
    partitions_free(&taken);
    return called;
}

/* While `revoked` runs, the slots are still owned: no one else gets them. */
void sqlog_group_leave(struct sqlog_consumer *consumer) {
    struct sqlog *log = sqlog_of(consumer->base.log);
    pthread_mutex_lock(&log->mutex);
    struct sqlog_consumer **at = &consumer->group->members;
    while (*at != consumer)
        at = &(*at)->next_member;
    *at = consumer->next_member;
    group_assign(consumer->group);
    struct partitions given = slots_to_give(consumer);
    pthread_mutex_unlock(&log->mutex);

    give(consumer, &given);

    pthread_mutex_lock(&log->mutex);
    slots_free(consumer->group, &given);
    pthread_mutex_unlock(&log->mutex);
    partitions_free(&given);
}
