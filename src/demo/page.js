// A page that never sees a token: the browser sends its cookie, and the gateway does the rest.

const find = (id) => document.getElementById(id);

async function show() {
  const answer = await fetch('/auth/session');
  const session = answer.ok ? await answer.json() : null;
  find('who').textContent = session
    ? `You are ${session.subject}. This session lasts ${session.expires_in} seconds more.`
    : 'Nobody is logged in.';
  find('login').hidden = session !== null;
  find('logout').hidden = session === null;
}

find('call').addEventListener('click', async () => {
  const answer = await fetch('/orders/1');
  find('answer').textContent = `${answer.status}\n${await answer.text()}`;
});

show();
