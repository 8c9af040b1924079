import * as Guacamole from "guacamole-common-js";

export default Guacamole;
