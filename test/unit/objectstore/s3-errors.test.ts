/** What S3's answers mean: above all whether a create that failed may have been applied, and whether waiting can help. */
import { expect, test } from "bun:test";
import { Trouble } from "../../../src/base/trouble.ts";
import { classifyS3Error } from "../../../src/objectstore/s3-errors.ts";

interface Case {
  readonly name?: string;
  readonly status?: number;
  readonly operation?: string;
  readonly credentialsWorked?: boolean;
}

function classify({ name = "", status, operation = "createOnce", credentialsWorked = false }: Case): string {
  const answer = status === undefined ? {} : { $fault: "client", $metadata: { httpStatusCode: status } };
  const error = Object.assign(new Error("told"), { name }, answer);
  const failure = { store: "s3://b/p", operation, key: "k", error, credentialsWorked, sent: true, timedOut: false, aborted: false };
  const trouble = classifyS3Error(failure);
  if (!(trouble instanceof Trouble)) throw trouble;
  return trouble.code;
}

test.each([
  // Refused before it was executed: certainly not applied.
  [{ name: "SlowDown", status: 503 }, "store-unavailable"],
  [{ name: "ServiceUnavailable", status: 503 }, "store-unavailable"],
  [{ name: "Whatever", status: 429 }, "store-unavailable"],
  [{ name: "ConditionalRequestConflict", status: 409 }, "store-conflict"],
  [{ name: "Whatever", status: 409 }, "store-conflict"],
  [{ name: "Whatever", status: 507 }, "store-full"],
  [{ name: "ExpiredToken", status: 403 }, "store-credentials-expired"],
  [{ name: "TokenRefreshRequired", status: 403 }, "store-credentials-expired"],
  [{ name: "RequestTimeTooSkewed", status: 403 }, "store-clock-skew"],
  [{ name: "AccessDenied", status: 403, credentialsWorked: true }, "store-access-denied"],
  // Perhaps applied.
  [{ name: "InternalError", status: 500 }, "store-outcome-unknown"],
  [{ name: "Whatever", status: 502 }, "store-outcome-unknown"],
  [{ name: "Whatever", status: 504 }, "store-outcome-unknown"],
  [{ name: "Error" }, "store-outcome-unknown"],
  // For what may be repeated anyway, "try again" is all there is to know.
  [{ name: "InternalError", status: 500, operation: "get" }, "store-unavailable"],
  [{ name: "Error", operation: "get" }, "store-unavailable"],
] as const)("%p is %s", (answer, code) => {
  expect(classify(answer)).toBe(code);
});

test("keys that were never good are a mistake, keys that were good and are not now have been rotated", () => {
  for (const name of ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"]) {
    expect(classify({ name, status: 403 })).toBe("store-access-denied");
    expect(classify({ name, status: 403, credentialsWorked: true })).toBe("store-credentials-expired");
  }
});
