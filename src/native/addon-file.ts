/**
 * Where the built addon's bytes are. Apart from `load-addon.ts`, so that a missing build is an error it can catch. The extension is not
 * .node, for which the bundler would extract a library into the temporary directory at start.
 */
import path from "../../build/native/weir.bin" with { type: "file" };

export const addonPath: string = path;
