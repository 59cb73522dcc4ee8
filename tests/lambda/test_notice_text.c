/* What notices say: amounts, escaping, one line for one thing. */
#include "consumers/notice_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct money money(int64_t minor, const char *currency) {
    return (struct money){minor, str_from(currency)};
}

static struct intent_send_notice notice(const char *template, const char *reason, const char *currency) {
    static struct line lines[2];
    struct money zero = money(0, currency);
    lines[0] = (struct line){.sku = STR("a"),
                             .name = STR("Tea <script>alert(\"1\")</script> & 'more'"),
                             .quantity = 2,
                             .unit_price = money(61725, currency),
                             .line_total = money(123450, currency)};
    lines[1] = (struct line){.sku = STR("b"),
                             .name = STR("Cup\r\nTotal: nothing\x1b[2J"),
                             .quantity = 1,
                             .unit_price = money(50, currency),
                             .line_total = money(50, currency)};
    return (struct intent_send_notice){
        .order_id = STR("0190f3a1-0000-8000-8000-000000000001"),
        .template = str_from(template),
        .cause = STR("cause"),
        .reason = str_from(reason),
        .refunded_minor = 500,
        .order = {.shopper_id = STR("s"),
                  .personal_ref = STR("ref"),
                  .placed_at = INT64_C(1767225600000000),
                  .lines = {lines, 2},
                  .totals = {money(123500, currency), zero, money(500, currency), zero, money(124000, currency)}}};
}

static void assert_has(const struct buf *text, const char *part) {
    if (!text->ptr || !strstr(text->ptr, part))
        fail_msg("there is no '%s' in:\n%s", part, text->ptr ? text->ptr : "");
}

static void assert_has_not(const struct buf *text, const char *part) {
    if (text->ptr && strstr(text->ptr, part))
        fail_msg("there is a '%s' in:\n%s", part, text->ptr);
}

static void amounts_are_in_the_currencys_own_format(void **state) {
    (void)state;
    static const struct {
        int64_t minor;
        const char *currency, *text;
    } cases[] = {
        {123450, "USD", "$1,234.50"},
        {-5, "USD", "-$0.05"},
        {500, "JPY", "¥500"},
        {1234567, "KRW", "₩1,234,567"},
        {1250, "KWD", "KWD 1.250"},
        {100000000, "EUR", "€1,000,000.00"},
        {99, "CHF", "CHF 0.99"},
        {12345, "CLF", "CLF 1.2345"},
        {0, "GBP", "£0.00"},
        {INT64_MIN, "JPY", "-¥9,223,372,036,854,775,808"},
        {999, "XXXX", "XXXX 9.99"},
        {100, "ISK", "ISK 100"},
        {INT64_MAX, "USD", "$92,233,720,368,547,758.07"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        BUF_AUTO text = {0};
        notice_text_add_money(&text, cases[i].minor, str_from(cases[i].currency));
        assert_string_equal(text.ptr, cases[i].text);
    }
}

static void each_template_says_its_own(void **state) {
    (void)state;
    static const struct {
        const char *template, *reason, *subject, *says;
    } cases[] = {
        {"order-confirmed", "", "Corner Shop: your order 0190f3a1 is confirmed", "payment is authorised"},
        {"order-refused", "out-of-stock", "Corner Shop: your order 0190f3a1 could not be taken", "is sold out"},
        {"order-shipped", "", "Corner Shop: your order 0190f3a1 is on its way", "has left us"},
        {"order-delivered", "", "Corner Shop: your order 0190f3a1 was delivered", "was delivered"},
        {"order-cancelled", "payment-expired", "Corner Shop: your order 0190f3a1 was cancelled",
         "not paid for in time"},
        {"order-refunded", "", "Corner Shop: your order 0190f3a1 was refunded", "Refunded: $5.00"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        NOTICE_TEXT_AUTO text = {0};
        struct intent_send_notice made = notice(cases[i].template, cases[i].reason, "USD");
        assert_true(notice_text_make(&made, STR("Corner Shop"), &text));
        assert_string_equal(text.subject.ptr, cases[i].subject);
        assert_has(&text.text, cases[i].says);
        assert_has(&text.html, cases[i].says);
        assert_has(&text.text, "Order 0190f3a1-0000-8000-8000-000000000001 of 2026-01-01");
    }
    NOTICE_TEXT_AUTO text = {0};
    struct intent_send_notice made = notice("order-lost", "", "USD");
    assert_false(notice_text_make(&made, STR("Corner Shop"), &text));
}

static void what_comes_from_outside_is_escaped(void **state) {
    (void)state;
    NOTICE_TEXT_AUTO text = {0};
    struct intent_send_notice made = notice("order-confirmed", "", "USD");
    assert_true(notice_text_make(&made, STR("Tom & Co\nBcc: all@example.com"), &text));
    assert_string_equal(text.subject.ptr, "Tom & Co Bcc: all@example.com: your order 0190f3a1 is confirmed");
    assert_has(&text.html, "Tea &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;more&#39;");
    assert_has_not(&text.html, "<script");
    assert_has(&text.html, "Tom &amp; Co Bcc");
    assert_has(&text.text, "  2 x Tea <script>alert(\"1\")</script> & 'more': $1,234.50\n");
    assert_has(&text.text, "  1 x Cup  Total: nothing [2J: $0.50\n");
    assert_has_not(&text.text, "\nTotal: nothing");
    assert_has(&text.text, "  Shipping: $5.00\n  Total: $1,240.00\n");
    assert_has_not(&text.text, "Tax");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_are_in_the_currencys_own_format),
        cmocka_unit_test(each_template_says_its_own),
        cmocka_unit_test(what_comes_from_outside_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
