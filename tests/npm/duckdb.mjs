// Runs SQL in DuckDB, in memory: `duckdb.mjs FOLDER` reads statements from its standard input, runs them with FOLDER as the working
// directory, and prints the rows of the last one, one JSON object a line; numbers beyond 32 bits are texts in it.
//
// Run it in the folder that holds `node_modules`.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const load = createRequire(path.resolve("node_modules/package.js"));
const { DuckDBInstance } = load("@duckdb/node-api");
process.chdir(process.argv[2]);

// No extension is fetched: what the queries need is built in.
const instance = await DuckDBInstance.create(":memory:", {
  autoinstall_known_extensions: "false",
});
const connection = await instance.connect();
const result = await connection.runAndReadAll(readFileSync(0, "utf8"));
for (const row of result.getRowObjectsJson()) {
  console.log(JSON.stringify(row));
}
