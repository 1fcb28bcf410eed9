// The server's side of the page: what it is asked, and one sentence for each way in which that fails.

const TRIES = 10;

/** Send a form to be translated. `waiting(seconds, attempt)` is told of each wait, attempt being the one to come. */
export async function translate(form, signal, waiting) {
  return (await send("api/translate", form, signal, waiting)).json();
}

/** The sketch of a photo, as a blob; arguments as `translate`. */
export async function sketch(form, signal, waiting) {
  return (await send("api/sketch", form, signal, waiting)).blob();
}

/** What people see of a file that the browser cannot show, as a blob; arguments as `translate`. */
export async function preview(form, signal, waiting) {
  return (await send("api/preview", form, signal, waiting)).blob();
}

/** Send a form; while the server is busy, wait as long as it says and try again. */
async function send(address, form, signal, waiting) {
  for (let attempt = 1; ; attempt++) {
    const response = await ask(address, { method: "POST", body: form, signal });
    if (response.status !== 503 || attempt === TRIES) return checked(response);
    const seconds = Number(response.headers.get("Retry-After")) || 2;
    waiting(seconds, attempt + 1);
    await pause(seconds, signal);
  }
}

/** The image of a random example for this model, as a blob. */
export async function example(model) {
  const seed = Math.floor(Math.random() * 2 ** 31);
  return (await checked(await ask(`api/example?${new URLSearchParams({ model, seed })}`))).blob();
}

async function ask(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached; your image is still here, try again in a moment.");
  }
}

async function checked(response) {
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new Error(answer.error ?? `The server failed (${response.status}); your image is still here.`);
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
