// Runs the blob and queue services of Azurite in memory, on free ports of the loopback interface.
//
// Run it in the folder that holds `node_modules`. It prints one line of JSON when the services listen,
// {"blob":"http://127.0.0.1:PORT","queue":"http://127.0.0.1:PORT"}, and ends when its standard input closes: so it cannot outlive
// whoever started it, however that one died. Further arguments go to Azurite (`--oauth basic --cert FILE --key FILE`), but for
// `--appendBlocksMax N` in front of them: the blocks that an append blob takes, 50,000 without it.

import { createRequire } from "node:module";
import path from "node:path";

const endpoints = {};
let words = "";
let listening = false;
const print = process.stdout.write.bind(process.stdout);

// Azurite runs in this process, for a child would need somebody to end it. Where it listens stands only in the text that it prints.
process.stdout.write = (chunk) => {
  words += listening ? "" : chunk;
  for (const [, service, endpoint] of String(chunk).matchAll(/Azurite (\w+) service is successfully listening at (\S+)/g)) {
    endpoints[service.toLowerCase()] = endpoint;
    // The table service starts last; nobody uses it.
    if (service === "Table") {
      listening = true;
      print(JSON.stringify({ blob: endpoints.blob, queue: endpoints.queue }) + "\n");
    }
  }
  return true;
};

process.on("exit", () => listening || process.stderr.write(words));
process.stdin.on("end", () => process.exit(0));
process.stdin.on("error", () => process.exit(0));
process.stdin.resume();

const program = path.resolve("node_modules/azurite/dist/src/azurite.js");
const load = createRequire(program);
const further = process.argv.slice(2);
if (further[0] === "--appendBlocksMax") {
  // Azurite has no option for it. Its code stays as it is and reads another number where it compares with this one.
  const constants = load("./blob/utils/constants.js");
  if (constants.MAX_APPEND_BLOB_BLOCK_COUNT !== 50_000) {
    throw new Error("this Azurite keeps its block limit elsewhere");
  }
  constants.MAX_APPEND_BLOB_BLOCK_COUNT = Number(further[1]);
  further.splice(0, 2);
}
const services = ["blob", "queue", "table"];
process.argv = [
  process.argv[0],
  program,
  ...services.flatMap((service) => [`--${service}Host`, "127.0.0.1", `--${service}Port`, "0"]),
  "--inMemoryPersistence",
  "--disableTelemetry",
  "--silent",
  ...further,
];
load(program);
