/**
 * Say on the page what failed, where nothing else did: a part that was not found, an error
 * that nobody foresaw. An answer that is there may be to older values, and is hidden.
 *
 * No module: it has to run where one cannot be loaded.
 */
{
  /** @param {string} reason */
  const tell = (reason) => {
    const main = /** @type {HTMLElement} */ (document.getElementById("main"));
    const note = document.createElement("p");
    note.className = "notice wrong";
    note.setAttribute("role", "alert");
    note.id = "failure";
    note.textContent = `The page failed: ${reason}. Load it again.`;
    main.replaceChildren(note);
  };

  // Those of a script that was not found reach the window in the first phase only.
  addEventListener(
    "error",
    ({ target, error, message }) => {
      if (target instanceof HTMLScriptElement)
        tell(`${target.src}, or a part of it, could not be loaded`);
      else if (target === window) tell(error?.message ?? message);
    },
    true,
  );
  addEventListener("unhandledrejection", ({ reason }) => tell(reason?.message ?? String(reason)));
}
