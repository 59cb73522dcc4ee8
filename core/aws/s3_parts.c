/* Objects in several parts: begun, sent, and put together under a condition. */
#include "core/aws/s3_call.h"

#include <stdlib.h>

struct upload {
    struct s3 *s3;
    struct str key;
    struct buf id;    /* percent-encoded */
    struct buf parts; /* what CompleteMultipartUpload lists */
};

static bool upload_begin(struct upload *upload, struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    const struct sigv4_header headers[] = {{STR("Content-Type"), STR("application/octet-stream")},
                                           {STR("x-amz-checksum-algorithm"), STR("SHA256")},
                                           {STR("x-amz-checksum-type"), STR("COMPOSITE")}};
    if (!s3_call(upload->s3,
                 &(struct s3_request){.method = "POST",
                                      .key = upload->key,
                                      .query = STR("uploads="),
                                      .headers = headers,
                                      .header_count = 3,
                                      .body = STR("")},
                 &answer, err))
        return false;
    struct str id, at = buf_str(&answer.body);
    if (answer.status != 200 || !s3_xml_take(&at, "UploadId", &id))
        return s3_refused(upload->s3, "POST", upload->key, &answer, err);
    sigv4_add_encoded(&upload->id, id, "");
    return true;
}

static bool upload_part(struct upload *upload, int number, struct str bytes, struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO query = {0};
    char checksum[S3_CHECKSUM_SIZE];
    s3_checksum(bytes, checksum);
    const struct sigv4_header headers[] = {{STR("Content-Type"), STR("application/octet-stream")},
                                           {STR("x-amz-checksum-sha256"), str_from(checksum)}};
    buf_printf(&query, "partNumber=%d&uploadId=%s", number, upload->id.ptr);
    if (!s3_call(upload->s3,
                 &(struct s3_request){.method = "PUT",
                                      .key = upload->key,
                                      .query = buf_str(&query),
                                      .headers = headers,
                                      .header_count = 2,
                                      .body = bytes},
                 &answer, err))
        return false;
    struct str tag = http_answer_header(&answer, STR("ETag"));
    if (answer.status != 200 || !tag.len)
        return s3_refused(upload->s3, "PUT", upload->key, &answer, err);
    buf_printf(&upload->parts,
               "<Part><ChecksumSHA256>%s</ChecksumSHA256><ETag>%.*s</ETag><PartNumber>%d</PartNumber></Part>", checksum,
               STR_ARG(tag), number);
    return true;
}

/* S3 may begin to answer 200 before it knows: then the body is an error. A completion that is made again after its
 * answer was lost finds no upload any more: the object is there then, and is looked at by the caller. */
static bool upload_complete(struct upload *upload, enum s3_written *ret, struct err *err) {
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO query = {0};
    BUF_AUTO body = {0};
    const struct sigv4_header headers[] = {{STR("Content-Type"), STR("application/xml")},
                                           {STR("If-None-Match"), STR("*")}};
    buf_printf(&query, "uploadId=%s", upload->id.ptr);
    buf_printf(&body,
               "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">%s"
               "</CompleteMultipartUpload>",
               upload->parts.ptr);
    if (!s3_call(upload->s3,
                 &(struct s3_request){.method = "POST",
                                      .key = upload->key,
                                      .query = buf_str(&query),
                                      .headers = headers,
                                      .header_count = 2,
                                      .body = buf_str(&body)},
                 &answer, err))
        return false;
    struct str code = STR_NULL, at = buf_str(&answer.body);
    bool is_error = s3_xml_take(&at, "Code", &code);
    if (answer.status == 412 || str_eq(code, STR("PreconditionFailed")) || str_eq(code, STR("NoSuchUpload"))) {
        *ret = S3_EXISTS;
        return true;
    }
    if (answer.status != 200 || is_error)
        return s3_refused(upload->s3, "POST", upload->key, &answer, err);
    *ret = S3_WRITTEN;
    return true;
}

/* What cannot be taken back costs its room until the bucket's rule for incomplete uploads does it: no failure. */
static void upload_abort(struct upload *upload) {
    HTTP_ANSWER_AUTO answer = {0};
    BUF_AUTO query = {0};
    struct err ignored;
    buf_printf(&query, "uploadId=%s", upload->id.ptr);
    if (!s3_call(upload->s3, &(struct s3_request){.method = "DELETE", .key = upload->key, .query = buf_str(&query)},
                 &answer, &ignored))
        return;
}

bool s3_put_parts(struct s3 *s3, struct str key, struct str body, enum s3_written *ret, struct err *err) {
    struct upload upload = {.s3 = s3, .key = key};
    bool begun = upload_begin(&upload, err), ok = begun;
    enum s3_written written = S3_EXISTS;
    for (int number = 1; ok && body.len; number++) {
        size_t len = body.len < S3_PART_BYTES ? body.len : S3_PART_BYTES;
        ok = upload_part(&upload, number, (struct str){body.ptr, len}, err);
        body = (struct str){body.ptr + len, body.len - len};
    }
    ok = ok && upload_complete(&upload, &written, err);
    if (begun && (!ok || written == S3_EXISTS))
        upload_abort(&upload);
    buf_free(&upload.id);
    buf_free(&upload.parts);
    if (ok)
        *ret = written;
    return ok;
}
