// The main path in Firefox, by WebDriver BiDi: firefox.mjs PROGRAM ADDRESS REPORT
// Types nothing: reads a report, checks it, and prints what the result says, as JSON.
import { argv } from "node:process";
import puppeteer from "puppeteer-core";

const [, , executablePath, address, report] = argv;
const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
try {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(address);
  await page.waitForSelector("#excluded-none");
  await page.$eval("#excluded-none", (input) => input.click());
  await (await page.$("#report-file")).uploadFile(report);
  await page.waitForSelector(".check");
  const read = await page.$eval("#check-count", (element) => element.textContent);
  await page.$eval("#crp", (input) => {
    input.value = "2.4";
    input.dispatchEvent(new Event("input"));
  });
  await page.$eval(".bar button[type=submit]", (button) => button.click());
  await page.waitForSelector("#age-number");
  const age = await page.$eval("#age-number", (element) => element.textContent);
  const dots = (await page.$$(".dots circle")).length;
  await page.$eval("#keep", (button) => button.click());
  await page.waitForSelector(".kept li");
  await page.$eval("#whatif-crp", (slider) => {
    slider.value = "5";
    slider.dispatchEvent(new Event("input"));
  });
  await page.waitForFunction(
    () => !document.querySelector("#whatif-crp-value").textContent.includes("your value"),
  );
  const width = await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
  const version = await browser.version();
  console.log(JSON.stringify({ read, age, dots, width, errors, version }));
} finally {
  await browser.close();
}
