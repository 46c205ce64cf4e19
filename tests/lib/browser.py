"""A headless Chromium, driven by its debugging protocol over a pipe: no driver program, no port."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time


class Browser:
    """One page.  Everything waits for what is to be seen, up to a limit."""

    def __init__(self, width=1200, height=900, dark=False, mobile=False, limit=60):
        self.limit = limit
        self.profile = tempfile.mkdtemp(prefix="opampd-browser-")
        to_it, from_us = os.pipe()
        from_it, to_us = os.pipe()
        self.count, self.answers, self.console, self.lock = 0, {}, [], threading.Condition()

        def descriptors():
            # the protocol's descriptors are 3 and 4
            high_in, high_out = os.dup(to_it) + 0, os.dup(to_us) + 0
            os.dup2(high_in, 30)
            os.dup2(high_out, 31)
            os.dup2(30, 3)
            os.dup2(31, 4)

        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--no-default-browser-check", "--disable-extensions",
             "--remote-debugging-pipe", f"--user-data-dir={self.profile}", f"--window-size={width},{height}", "about:blank"],
            preexec_fn=descriptors, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": self.profile, "TZ": "UTC", "LANG": "C.UTF-8"})
        os.close(to_it)
        os.close(to_us)
        self.out, self.into = os.fdopen(from_us, "wb"), os.fdopen(from_it, "rb")
        threading.Thread(target=self._read, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    session = None

    def _read(self):
        buffer = b""
        while True:
            data = self.into.read1(65536)
            if not data:
                break
            buffer += data
            *whole, buffer = buffer.split(b"\0")
            for text in whole:
                message = json.loads(text)
                with self.lock:
                    if "id" in message:
                        self.answers[message["id"]] = message
                    elif message["method"] == "Runtime.exceptionThrown":
                        self.console.append(json.dumps(message["params"]["exceptionDetails"])[:600])
                    elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                        self.console.append(message["params"]["entry"]["text"] + " " + message["params"]["entry"].get("url", ""))
                    self.lock.notify_all()

    def call(self, method, **params):
        self.count += 1
        number = self.count
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        self.out.flush()
        with self.lock:
            if not self.lock.wait_for(lambda: number in self.answers, self.limit):
                raise AssertionError(f"the browser did not answer {method}")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, url):
        self.call("Page.navigate", url=url)

    def run(self, script):
        """The value of a JavaScript expression (a promise is waited for)."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(json.dumps(result["exceptionDetails"])[:800])
        return result["result"].get("value")

    def until(self, script, what, limit=None):
        """Waits until the expression is true; gives its value."""
        end = time.monotonic() + (limit or self.limit)
        while time.monotonic() < end:
            try:
                value = self.run(script)
            except AssertionError:
                value = None  # between two pages
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"not seen in the page: {what}\n{self.run('document.body && document.body.innerText')}\nconsole: {self.console}")

    def text(self):
        return self.run("document.body.innerText")

    def see(self, text, limit=None):
        return self.until(f"document.body.innerText.includes({json.dumps(text)})", text, limit)

    def click(self, selector):
        self.until(f"!!document.querySelector({json.dumps(selector)}) && !document.querySelector({json.dumps(selector)}).disabled", selector)
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def fill(self, selector, value):
        self.until(f"!!document.querySelector({json.dumps(selector)})", selector)
        self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.value = {json.dumps(value)}; "
                 "e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true})); })()")

    def key(self, name, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=code, text=text if kind == "keyDown" else "",
                      windowsVirtualKeyCode={"Tab": 9, "Enter": 13}.get(name, 0))

    def screenshot(self, path, full=False, most=100000):
        more = {}
        if full:  # the page as it is now: Chromium's own idea of its height may be an earlier one
            width, height = self.run("[innerWidth, Math.max(innerHeight, Math.ceil(document.querySelector('main')?.getBoundingClientRect().bottom + scrollY || 0))]")
            more = {"captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": width, "height": min(height, most), "scale": 1}}
        data = self.call("Page.captureScreenshot", format="png", **more)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)
