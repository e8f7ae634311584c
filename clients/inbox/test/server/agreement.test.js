/** The same suites on the real server: what the test server says is what this one says. */

import { openBrowser } from '../stage/browser.js';
import { openStage } from '../stage/stage.js';
import { elementSuite } from '../suites/element.js';
import { storeSuite } from '../suites/store.js';

const binary = process.env.CAMPANILE_BIN;
if (!binary) throw new Error('CAMPANILE_BIN names the server: CAMPANILE_BIN=target/debug/campanile');
storeSuite(await openStage(binary));
// Another one: the store's suite leaves an announcement to everybody.
elementSuite(await openStage(binary), await openBrowser());
