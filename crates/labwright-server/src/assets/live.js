// Puts what has changed into the page. Without it, the page reads the same and is loaded anew every few seconds.
'use strict';
(() => {
  const KEPT = 2000;
  const body = document.body;
  const live = document.getElementById('live');
  const trouble = document.getElementById('trouble');
  const log = document.getElementById('log');
  const follow = document.getElementById('follow');
  let source = null;
  let run = null;
  let lost = null;

  const say = (text) => {
    trouble.textContent = text;
    trouble.hidden = !text;
  };

  // What has the focus, or is selected, stays so when its region is made anew.
  const put = (id, html) => {
    const region = document.getElementById(id);
    if (!region) return;
    const focused = region.contains(document.activeElement) ? document.activeElement.id : '';
    const scrolled = [...region.querySelectorAll('pre, .wide')].map((one) => [one.scrollTop, one.scrollLeft]);
    region.innerHTML = html;
    region.querySelectorAll('pre, .wide').forEach((one, number) => {
      if (scrolled[number]) [one.scrollTop, one.scrollLeft] = scrolled[number];
    });
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    const title = region.querySelector('[data-title]')?.dataset.title;
    if (title) document.title = title + ' · ' + document.querySelector('.brand span').textContent;
  };

  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const toEnd = () => { log.scrollTop = log.scrollHeight; };

  const lines = ({ html, missed, anew }) => {
    if (!log || (follow && !follow.checked && !anew)) return;
    const stay = !anew && !atEnd();
    if (anew) log.replaceChildren();
    if (missed) {
      const note = document.createElement('p');
      note.className = 'note';
      note.textContent = missed + ' lines came too fast to be shown; a search finds them';
      log.append(note);
    }
    log.insertAdjacentHTML('beforeend', html);
    while (log.childElementCount > KEPT) log.firstElementChild.remove();
    if (!stay) toEnd();
  };

  const open = () => {
    if (source || document.hidden || !body.dataset.events) return;
    source = new EventSource(body.dataset.events);
    source.addEventListener('open', () => {
      clearTimeout(lost);
      lost = null;
      say('');
      live.textContent = 'live';
      live.hidden = false;
    });
    source.addEventListener('run', (event) => {
      if (run && run !== event.data) location.reload();
      run = event.data;
    });
    source.addEventListener('regions', (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data))) put(id, html);
    });
    source.addEventListener('lines', (event) => lines(JSON.parse(event.data)));
    source.addEventListener('error', () => {
      live.hidden = true;
      lost ??= setTimeout(() => say('The lab does not answer: it was stopped, or its supervisor was. This page goes on trying.'), 1500);
      // Some errors end it for good.
      if (source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(open, 2000);
      }
    });
  };

  const close = () => {
    source?.close();
    source = null;
    live.hidden = true;
    clearTimeout(lost);
    lost = null;
  };

  // A tab that nobody looks at costs nothing, and leaves its connection to the others: a browser has six for one server.
  document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
  addEventListener('pagehide', close);
  addEventListener('pageshow', open);

  document.addEventListener('submit', async (event) => {
    const form = event.target;
    if (form.method !== 'post') return;
    event.preventDefault();
    const sent = new URLSearchParams(new FormData(form, event.submitter));
    for (const button of form.querySelectorAll('button')) button.disabled = true;
    try {
      const answer = await fetch(form.action, { method: 'POST', body: sent, redirect: 'manual' });
      if (answer.type === 'opaqueredirect' || answer.ok) say('');
      else {
        const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
        say(page.querySelector('h1')?.textContent + ': ' + page.querySelector('p')?.textContent);
      }
    } catch {
      say('It was not sent: the lab does not answer.');
    }
    for (const button of form.querySelectorAll('button')) button.disabled = false;
  });

  if (log) {
    document.querySelector('.follow').hidden = false;
    follow.addEventListener('change', () => { if (follow.checked) toEnd(); });
    toEnd();
  }
  open();
})();
