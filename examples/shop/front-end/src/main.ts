/**
 * Begins what the page at hand needs. Each module looks for its own part of the page, and leaves if it is not there.
 */

import './styles/index.css';

import { showBell } from './bell';
import { showBoard } from './board';
import { showComparison } from './comparison';
import { followConnection } from './connection';
import { showDocument } from './document';
import { connect } from './echo';
import { showOperations } from './operations';
import { followOrders } from './orders';
import { showTimes } from './times';

showTimes(document);
const echo = connect();
if (echo) {
  followOrders(echo);
  showBell(echo);
  showDocument(echo);
  showBoard(echo);
  showOperations();
  showComparison(echo);
  followConnection(echo);
}
