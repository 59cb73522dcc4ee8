#include "core/base/clock.h"

#include <errno.h>
#include <time.h>

#define US_PER_SECOND INT64_C(1000000)

static int64_t clock_read_us(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

int64_t clock_now_us(void) {
    return clock_read_us(CLOCK_REALTIME);
}

int64_t clock_monotonic_us(void) {
    return clock_read_us(CLOCK_MONOTONIC);
}

int64_t clock_thread_cpu_us(void) {
    return clock_read_us(CLOCK_THREAD_CPUTIME_ID);
}

void clock_sleep_ms(int64_t ms) {
    clock_sleep_us(ms * 1000);
}

void clock_sleep_us(int64_t us) {
    if (us <= 0)
        return;
    struct timespec left = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar; the year is counted from March, so that a leap day
 * comes last. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int64_t *year, int64_t *month, int64_t *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted < 10 ? shifted + 3 : shifted - 9;
    *year = year_of_era + era * 400 + (*month <= 2);
}

static char *put_digits(char *at, int64_t value, int width) {
    for (int i = width - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + width;
}

/* The years that RFC 3339 can write. */
#define TIME_MIN_US (INT64_C(-62167219200) * US_PER_SECOND)
#define TIME_MAX_US (INT64_C(253402300800) * US_PER_SECOND - 1)

size_t clock_format(int64_t time_us, char *text) {
    if (time_us < TIME_MIN_US)
        time_us = TIME_MIN_US;
    if (time_us > TIME_MAX_US)
        time_us = TIME_MAX_US;
    int64_t fraction = time_us % US_PER_SECOND;
    if (fraction < 0)
        fraction += US_PER_SECOND;
    int64_t seconds = (time_us - fraction) / US_PER_SECOND;
    int64_t second_of_day = seconds % 86400;
    if (second_of_day < 0)
        second_of_day += 86400;
    int64_t year, month, day;
    date_from_days((seconds - second_of_day) / 86400, &year, &month, &day);

    char *at = put_digits(text, year, 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    at = put_digits(at, day, 2);
    *at++ = 'T';
    at = put_digits(at, second_of_day / 3600, 2);
    *at++ = ':';
    at = put_digits(at, second_of_day / 60 % 60, 2);
    *at++ = ':';
    at = put_digits(at, second_of_day % 60, 2);
    if (fraction) {
        *at++ = '.';
        at = put_digits(at, fraction, 6);
    }
    *at++ = 'Z';
    *at = '\0';
    return (size_t)(at - text);
}

static bool take_char(struct str *text, char upper) {
    char lower = (char)(upper >= 'A' && upper <= 'Z' ? upper + ('a' - 'A') : upper);
    if (text->len == 0 || (text->ptr[0] != upper && text->ptr[0] != lower))
        return false;
    text->ptr++;
    text->len--;
    return true;
}

static bool take_digits(struct str *text, size_t width, int64_t low, int64_t high, int64_t *ret) {
    if (text->len < width)
        return false;
    int64_t value = 0;
    for (size_t i = 0; i < width; i++) {
        char c = text->ptr[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    text->ptr += width;
    text->len -= width;
    *ret = value;
    return value >= low && value <= high;
}

static int64_t days_in_month(int64_t year, int64_t month) {
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static bool take_date(struct str *text, int64_t *ret_days) {
    int64_t year, month, day;
    if (!take_digits(text, 4, 0, 9999, &year) || !take_char(text, '-') || !take_digits(text, 2, 1, 12, &month) ||
        !take_char(text, '-') || !take_digits(text, 2, 1, days_in_month(year, month), &day))
        return false;
    *ret_days = days_from_date(year, month, day);
    return true;
}

static bool take_time(struct str *text, int64_t *ret_seconds, bool *ret_leap) {
    int64_t hour, minute, second;
    if (!take_digits(text, 2, 0, 23, &hour) || !take_char(text, ':') || !take_digits(text, 2, 0, 59, &minute) ||
        !take_char(text, ':') || !take_digits(text, 2, 0, 60, &second))
        return false;
    *ret_seconds = hour * 3600 + minute * 60 + second;
    *ret_leap = second == 60;
    return true;
}

/* Digits past the microsecond are read and dropped. */
static bool take_fraction(struct str *text, int64_t *ret_us) {
    *ret_us = 0;
    if (!take_char(text, '.'))
        return true;
    int64_t scale = US_PER_SECOND / 10, digit;
    if (!take_digits(text, 1, 0, 9, &digit))
        return false;
    do {
        *ret_us += digit * scale;
        scale /= 10;
    } while (take_digits(text, 1, 0, 9, &digit));
    return true;
}

static bool take_offset(struct str *text, int64_t *ret_seconds) {
    *ret_seconds = 0;
    if (take_char(text, 'Z'))
        return true;
    bool negative = take_char(text, '-');
    int64_t hour, minute;
    if ((!negative && !take_char(text, '+')) || !take_digits(text, 2, 0, 23, &hour) || !take_char(text, ':') ||
        !take_digits(text, 2, 0, 59, &minute))
        return false;
    *ret_seconds = (hour * 3600 + minute * 60) * (negative ? -1 : 1);
    return true;
}

bool clock_parse(struct str text, int64_t *ret_us) {
    int64_t days, seconds, fraction, offset;
    bool leap;
    if (!take_date(&text, &days) || !take_char(&text, 'T') || !take_time(&text, &seconds, &leap) ||
        !take_fraction(&text, &fraction) || !take_offset(&text, &offset) || text.len != 0)
        return false;
    int64_t total = days * 86400 + seconds - offset;
    /* A leap second is only ever the last of a UTC day; it counts as the first of the next. */
    if (leap && total % 86400 != 0)
        return false;
    *ret_us = total * US_PER_SECOND + fraction;
    return true;
}
