// Asks for the token and comes back to the same address, so that the view in it survives.
"use strict";
const base = document.currentScript.src.replace(/ask\.js$/, "");
// A cookie that is SameSite=Strict does not come with a link from elsewhere; our own request has it.
fetch(base + "api/hello").then((answer) => { if (answer.ok) location.reload(); });
document.getElementById("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch(base + "api/login", {
    method: "POST", headers: { "X-Steno": "1", "Content-Type": "application/json" },
    body: JSON.stringify({ token: document.getElementById("token").value.trim() }),
  });
  if (answer.ok) location.reload();
  else document.getElementById("wrong").textContent = (await answer.json()).error;
});
