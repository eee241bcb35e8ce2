"""METHOD PATH BODY [NAME:VALUE…]: one request to S3, signed with AWS's fourth signature, and the answer as JSON.

Written against the protocol with nothing but the standard library, so that a test can send what client libraries
do not. `S3_ENDPOINT` and AWS's usual variables say where to and as whom.
"""

import datetime
import hashlib
import hmac
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request


def keyed(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signed(method, path, query, headers, digest, now):
    """The header `Authorization`."""
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    query = urllib.parse.urlencode(pairs, quote_via=urllib.parse.quote)
    request = "\n".join([method, urllib.parse.quote(path, "/-_.~"), query, lines, names, digest])
    region = os.environ["AWS_REGION"]
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in scope.split("/"):
        key = keyed(key, part)
    signature = keyed(key, "\n".join(["AWS4-HMAC-SHA256", now, scope, hashed])).hex()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"


method, target, body, *more = sys.argv[1:]
path, _, query = target.partition("?")
endpoint = os.environ["S3_ENDPOINT"]
now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
digest = hashlib.sha256(body.encode()).hexdigest()
headers = {
    "host": urllib.parse.urlsplit(endpoint).netloc,
    "x-amz-content-sha256": digest,
    "x-amz-date": now,
}
for header in more:
    name, _, value = header.partition(":")
    headers[name.lower()] = value.strip()
authorization = signed(method, path, query, headers, digest, now)
request = urllib.request.Request(
    endpoint + target,
    data=body.encode() or None,
    headers={**headers, "Authorization": authorization},
    method=method,
)
try:
    # The store is reached directly, whatever proxy this machine uses.
    answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
except urllib.error.HTTPError as refused:
    answer = refused
text = answer.read().decode("utf-8", "replace")
print(json.dumps({"status": answer.status, "etag": answer.headers.get("ETag"), "body": text}))
