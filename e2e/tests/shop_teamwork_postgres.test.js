import { documentsAndBoards } from '../suites/shop_teamwork.js';

documentsAndBoards('Postgres');
