//! The dashboard in a real browser: live, with its buttons, without a script, on a phone, light and dark.

use std::time::{Duration, Instant};

use crate::chromium::Browser;
use crate::dashboard::with_pages;
use crate::up::{Here, until};

const PAGES: &[(&str, &str)] =
    &[("overview", "/"), ("unit", "/unit/fine"), ("graph", "/graph"), ("timeline", "/timeline"), ("traces", "/traces")];

#[test]
fn a_change_is_seen_without_loading_the_page_again_and_buttons_work() {
    let here = with_pages();
    let mut browser = Browser::new(1280, 900);
    browser.open(&format!("{}/", here.dashboard()));
    browser.until("document.getElementById('live').textContent === 'live' && !document.getElementById('live').hidden");
    browser.value("window.sameDocument = true");
    browser.until("document.querySelector('.broken .why').textContent.includes('exit code 3')");
    browser.until("document.querySelector('.broken pre').textContent.includes('the disk is on fire')");
    browser.until("document.title.includes('✗ 1 broken')");

    // Somebody else restarts it, and the page shows it.
    let row = "[...document.querySelectorAll('.units tbody tr')].find((row) => row.innerText.includes('pages'))";
    let pid = here.pid("pages");
    browser.until(&format!("{row}.innerText.includes('{pid}')"));
    let began = Instant::now();
    here.desk.run(&["restart", "pages"]).code(0);
    browser.until(&format!("!{row}.innerText.includes('{pid}') && {row}.innerText.includes('ready')"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

    // A button does, and the focus stays where it is.
    let pid = here.pid("fine");
    let row = "[...document.querySelectorAll('.units tbody tr')].find((row) => row.querySelector('.name a').innerText === 'fine')";
    browser.value(&format!(
        "(() => {{ const button = {row}.querySelector('button[value=restart]'); button.focus(); button.click(); }})()"
    ));
    until("it is another process", || here.unit("fine")["phase"] == "ready" && here.pid("fine") != pid);
    browser.until(&format!("{row}.innerText.includes('{}')", here.pid("fine")));
    browser.value(&format!("{row}.querySelector('button[value=stop]').click()"));
    browser.until(&format!("{row}.innerText.includes('stopped') && {row}.querySelector('button[value=start]')"));
    browser.value(&format!("{row}.querySelector('button[value=start]').click()"));
    browser.until(&format!("{row}.innerText.includes('ready')"));
    assert_eq!(browser.value("window.sameDocument"), true, "it was not loaded again");

    // Its log follows, and its search goes on following.
    browser.open(&format!("{}/unit/fine", here.dashboard()));
    browser.until("document.getElementById('log').innerText.includes('<script>alert(1)</script>')");
    let said = "document.querySelectorAll('#log p.out').length";
    let before = browser.value(said).as_u64().unwrap();
    here.desk.run(&["restart", "fine"]).code(0);
    browser.until(&format!("{said} > {before}"));
    browser.open(&format!("{}/unit/fine?q=turned&stream=out", here.dashboard()));
    browser.until("document.getElementById('live').textContent === 'live'");
    let before = browser.value(said).as_u64().unwrap();
    here.desk.run(&["restart", "fine"]).code(0);
    browser.until(&format!(
        "{said} === {} && [...document.querySelectorAll('#log p')].every((line) => line.innerText.includes('turned'))",
        before + 1
    ));

    assert_eq!(browser.errors, Vec::<String>::new());
    // The lab goes, and the page says so instead of showing what was.
    here.down().code(0);
    browser.until("!document.getElementById('trouble').hidden");
}

#[test]
fn it_reads_without_a_script() {
    let here = with_pages();
    let mut browser = Browser::new(1280, 900);
    browser.scripts(false);
    for (name, path) in PAGES {
        browser.open(&format!("{}{path}", here.dashboard()));
        assert_eq!(browser.value("document.getElementById('live').hidden"), true, "{name}");
    }
    browser.open(&format!("{}/", here.dashboard()));
    let text = browser.value("document.body.innerText").to_string();
    for said in ["2 of 4 are well", "the disk is on fire", "waits for db", "Restart"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(
        browser
            .value("document.querySelector('noscript meta') !== null || document.head.innerHTML.includes('refresh')"),
        true
    );
    browser.open(&format!("{}/unit/fine", here.dashboard()));
    let text = browser.value("document.getElementById('log').innerText").to_string();
    assert!(text.contains("<script>alert(1)</script>"), "{text}");
    here.down().code(0);
}

/// No page is wider than its window, in either theme; the themes differ.
#[test]
fn it_fits_a_phone_and_follows_the_theme() {
    let here: Here = with_pages();
    let mut browser = Browser::new(1280, 900);
    for (size, width, height) in [("desktop", 1280, 900), ("phone", 360, 780)] {
        browser.size(width, height);
        let mut backgrounds = Vec::new();
        for theme in ["light", "dark"] {
            browser.theme(theme);
            for (name, path) in PAGES {
                browser.open(&format!("{}{path}", here.dashboard()));
                let wide = browser.value("document.documentElement.scrollWidth").as_u64().unwrap();
                assert!(wide <= u64::from(width), "{name} is {wide} wide on a {size} of {width}");
                browser.picture(&format!("{size}-{theme}-{name}"));
            }
            backgrounds.push(browser.value("getComputedStyle(document.body).backgroundColor").to_string());
        }
        assert_ne!(backgrounds[0], backgrounds[1]);
    }
    assert_eq!(browser.errors, Vec::<String>::new());
    here.down().code(0);
}

/// A tab that is left open holds so many lines and no more, whatever comes, and goes on answering.
#[test]
fn a_flood_does_not_fill_a_tab() {
    let here = Here::new(
        "  loud: { on: box, run: { command: [/bin/sh, -c, 'exec yes a line that says nothing at all, over and over again'] } }\n",
    );
    here.up(&[]).code(0);
    let mut browser = Browser::new(1280, 900);
    browser.open(&format!("{}/unit/loud", here.dashboard()));
    let lines = "document.getElementById('log').childElementCount";
    browser.until(&format!("{lines} >= 2000"));
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        let count = browser.value(lines).as_u64().unwrap();
        assert!(count <= 2000, "{count} lines");
        std::thread::sleep(Duration::from_millis(200));
    }
    browser.value("document.querySelector('button[value=stop]').click()");
    browser.until("document.querySelector('.badge').innerText.includes('stopped')");
    assert_eq!(here.unit("loud")["phase"], "stopped");
    assert_eq!(browser.errors, Vec::<String>::new());
    here.down().code(0);
}
