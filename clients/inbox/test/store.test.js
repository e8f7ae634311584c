/** The store's suite on the test server. */

import { openStage } from './stage/stage.js';
import { storeSuite } from './suites/store.js';

storeSuite(await openStage());
