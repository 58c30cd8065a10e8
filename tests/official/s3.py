"""S3, by `boto3`."""

import hashlib
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from check import check, end, need, raises, same


def client(secret):
    return boto3.client(
        "s3", endpoint_url=need("S3_URL"), aws_access_key_id=need("S3_KEY"), aws_secret_access_key=secret,
        region_name=need("S3_REGION"),
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4", retries={"max_attempts": 0}),
    )


s3 = client(need("S3_SECRET"))
BUCKET, PART = "backups", 5 * 1024 * 1024


def refusal(call):
    error = raises(ClientError, call).response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]


def content(key):
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


@check("put, get and head")
def _():
    body = b"the night's dump"
    put = s3.put_object(Bucket=BUCKET, Key="dumps/a b+c.sql", Body=body, ContentType="text/plain", Metadata={"run": "r1"})
    same(put["ETag"], f'"{hashlib.md5(body).hexdigest()}"')
    got = s3.get_object(Bucket=BUCKET, Key="dumps/a b+c.sql")
    same(got["Body"].read(), body)
    head = s3.head_object(Bucket=BUCKET, Key="dumps/a b+c.sql")
    same((head["ContentLength"], head["ETag"]), (len(body), put["ETag"]))
    same((head["ContentType"], head["Metadata"]), ("text/plain", {"run": "r1"}))


@check("a range")
def _():
    got = s3.get_object(Bucket=BUCKET, Key="dumps/a b+c.sql", Range="bytes=4-8")
    same((got["Body"].read(), got["ContentRange"]), (b"night", "bytes 4-8/16"))


@check("list in pages, with a prefix and a delimiter")
def _():
    for number in range(5):
        s3.put_object(Bucket=BUCKET, Key=f"many/{number}", Body=b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="many/", PaginationConfig={"PageSize": 2})
    pages = [[one["Key"] for one in page["Contents"]] for page in pages]
    same(pages, [["many/0", "many/1"], ["many/2", "many/3"], ["many/4"]])
    top = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")
    same(sorted(one["Prefix"] for one in top["CommonPrefixes"]), ["dumps/", "many/"])


@check("copy")
def _():
    s3.copy_object(Bucket=BUCKET, Key="copy.sql", CopySource={"Bucket": BUCKET, "Key": "dumps/a b+c.sql"})
    same(content("copy.sql"), b"the night's dump")


@check("multipart")
def _():
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]
    bodies = [b"a" * PART, b"b" * 10]
    parts = []
    for number, body in enumerate(bodies, 1):
        part = s3.upload_part(Bucket=BUCKET, Key="big", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    listed = s3.list_parts(Bucket=BUCKET, Key="big", UploadId=upload)["Parts"]
    same([(one["PartNumber"], one["Size"]) for one in listed], [(1, PART), (2, 10)])
    done = s3.complete_multipart_upload(Bucket=BUCKET, Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
    assert done["ETag"].endswith('-2"'), done["ETag"]
    same(content("big"), b"".join(bodies))


@check("multipart with a wrong ETag")
def _():
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="wrong")["UploadId"]
    s3.upload_part(Bucket=BUCKET, Key="wrong", UploadId=upload, PartNumber=1, Body=b"x")
    parts = [{"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}]
    call = lambda: s3.complete_multipart_upload(
        Bucket=BUCKET, Key="wrong", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    same(refusal(call), (400, "InvalidPart"))
    s3.abort_multipart_upload(Bucket=BUCKET, Key="wrong", UploadId=upload)
    same(refusal(call), (404, "NoSuchUpload"))


@check("multipart with a small part in the middle")
def _():
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="small")["UploadId"]
    tags = [
        s3.upload_part(Bucket=BUCKET, Key="small", UploadId=upload, PartNumber=number, Body=b"x")["ETag"]
        for number in (1, 2)
    ]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    call = lambda: s3.complete_multipart_upload(
        Bucket=BUCKET, Key="small", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    same(refusal(call), (400, "EntityTooSmall"))


@check("upload_fileobj of its own accord in parts")
def _():
    import io

    body = bytes(range(256)) * 40_000
    s3.upload_fileobj(io.BytesIO(body), BUCKET, "managed")
    same(hashlib.sha256(content("managed")).digest(), hashlib.sha256(body).digest())


@check("written once")
def _():
    s3.put_object(Bucket=BUCKET, Key="once", Body=b"first", IfNoneMatch="*")
    again = lambda: s3.put_object(Bucket=BUCKET, Key="once", Body=b"second", IfNoneMatch="*")
    same(refusal(again), (412, "PreconditionFailed"))
    same(content("once"), b"first")


@check("presigned")
def _():
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "once"}, ExpiresIn=60)
    same(urllib.request.urlopen(url, timeout=10).read(), b"first")
    altered = url.replace("/once?", "/copy.sql?")
    same(raises(urllib.error.HTTPError, lambda: urllib.request.urlopen(altered, timeout=10)).code, 403)
    put = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "by-link"}, ExpiresIn=60)
    request = urllib.request.Request(put, data=b"sent", method="PUT", headers={"content-type": ""})
    same(urllib.request.urlopen(request, timeout=10).status, 200)
    same(content("by-link"), b"sent")


@check("delete one and many")
def _():
    s3.delete_object(Bucket=BUCKET, Key="once")
    same(refusal(lambda: s3.get_object(Bucket=BUCKET, Key="once")), (404, "NoSuchKey"))
    same(refusal(lambda: s3.head_object(Bucket=BUCKET, Key="once")), (404, "404"))
    s3.delete_object(Bucket=BUCKET, Key="once")
    keys = [{"Key": f"many/{number}"} for number in range(5)]
    deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
    same(len(deleted["Deleted"]), 5)
    same(s3.list_objects_v2(Bucket=BUCKET, Prefix="many/")["KeyCount"], 0)


@check("buckets")
def _():
    same([one["Name"] for one in s3.list_buckets()["Buckets"]], [BUCKET])
    s3.create_bucket(Bucket="second")
    s3.head_bucket(Bucket="second")
    s3.delete_bucket(Bucket="second")
    same(refusal(lambda: s3.list_objects_v2(Bucket="second")), (404, "NoSuchBucket"))


@check("a wrong secret")
def _():
    same(refusal(lambda: client("wrong").list_buckets()), (403, "SignatureDoesNotMatch"))


end()
