/** The object store under an executable in a test: a folder, or a real S3 server of the test's own on loopback (see test/support/s3). */
import { join } from "node:path";
import { mustRunTool, repositoryRoot } from "./tools.ts";

export type StoreKind = "file" | "minio" | "versitygw";

export interface WeirStore {
  /** Value of the setting `object.store`. */
  readonly setting: string;
  /** Credentials. */
  readonly environment: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

const scripts = join(repositoryRoot, "test", "support", "s3");

export function parseStoreKind(text: string): StoreKind {
  if (text === "file" || text === "minio" || text === "versitygw") return text;
  throw new Error(`no store "${text}"; there is file, minio and versitygw`);
}

/** `folder` must be empty of other stores; an S3 server is built on first use, which takes minutes. */
export async function startStore(kind: StoreKind, folder: string): Promise<WeirStore> {
  if (kind === "file") return { setting: `file:${join(folder, "store")}`, environment: {}, stop: async () => {} };
  const home = join(folder, "s3");
  const output = await mustRunTool([join(scripts, "start-s3.sh"), "--dir", home, "--server", kind], { timeoutMs: 900_000 });
  const variable = (name: string): string => {
    const value = new RegExp(`^${name}=(.*)$`, "m").exec(output)?.[1];
    if (value === undefined) throw new Error(`start-s3.sh printed no ${name}`);
    return value.replace(/^'(.*)'$/, "$1");
  };
  const endpoint = variable("S3_ENDPOINT");
  return {
    setting: `s3://${variable("S3_BUCKET")}/weir?region=${variable("S3_REGION")}&endpoint=${endpoint}&pathStyle=true`,
    environment: { AWS_ACCESS_KEY_ID: variable("S3_ACCESS_KEY"), AWS_SECRET_ACCESS_KEY: variable("S3_SECRET_KEY") },
    stop: async () => {
      await mustRunTool([join(scripts, "stop-s3.sh"), "--dir", home, "--purge"]);
    },
  };
}
