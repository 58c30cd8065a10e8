// One line for each check: `ok NAME`, or `not ok NAME: why`.
let failed = 0;

// Longer than any of these takes on a busy machine.
setTimeout(() => {
  console.log("not ok in time: it hangs");
  process.exit(1);
}, 100_000).unref();

export async function check(name, body) {
  try {
    await body();
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    const why = error instanceof Error ? error.message : JSON.stringify(error);
    console.log(`not ok ${name}: ${String(why).replace(/\s+/g, " ").slice(0, 500)}`);
  }
}

export function need(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

export function end() {
  process.exitCode = failed === 0 ? 0 : 1;
}
