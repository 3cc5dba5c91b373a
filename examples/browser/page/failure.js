/**
 * Say on the page what failed, if no other code did: a part that was not found, or an unexpected
 * error. A shown answer may belong to older values, so it is hidden.
 *
 * This is not a module: it must run where modules cannot be loaded.
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

  // Errors of a script that was not found reach the window only in the capture phase.
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
