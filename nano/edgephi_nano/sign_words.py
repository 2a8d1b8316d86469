"""The upper-case words that stand on signs: at most five letters, so that one view resolves them."""

# fmt: off
SIGN_WORDS: tuple[str, ...] = (
    "AIR", "ALARM", "ALLEY", "ARCH", "AREA", "ART", "ATM", "BAKER", "BANK", "BAR", "BAY", "BEACH", "BED", "BELL",
    "BIKE", "BIRD", "BLOCK", "BOAT", "BOOK", "BOX", "BREAD", "BUS", "BUY", "CAFE", "CAKE", "CALL", "CAMP", "CAR",
    "CARE", "CASH", "CAT", "CELL", "CHECK", "CITY", "CLEAN", "CLUB", "COAT", "COLD", "COOK", "COURT", "CREAM",
    "CROSS", "CURVE", "DAIRY", "DECK", "DEER", "DESK", "DIAL", "DOCK", "DOG", "DOOR", "DOWN", "DRAIN", "DRINK",
    "DROP", "DRY", "DUCK", "EAST", "EAT", "EDGE", "ENTER", "EXIT", "FALL", "FARM", "FAST", "FERRY", "FIELD", "FILM",
    "FIRE", "FISH", "FLOOR", "FOOD", "FORK", "FREE", "FRESH", "FRONT", "FRUIT", "FUEL", "GAME", "GAS", "GATE",
    "GIFT", "GLASS", "GO", "GOLD", "GRASS", "GREEN", "GUARD", "GUEST", "GYM", "HALL", "HAND", "HEAT", "HELP",
    "HIGH", "HILL", "HOLD", "HOME", "HORSE", "HOT", "HOTEL", "HOUR", "ICE", "INFO", "INN", "JUICE", "JUMP", "KEEP",
    "KEY", "KIDS", "KING", "LAB", "LAKE", "LAMP", "LANE", "LAW", "LEFT", "LIFT", "LIGHT", "LINE", "LION", "LOCK",
    "LODGE", "LOW", "LUNCH", "MAIL", "MAIN", "MALL", "MAP", "MEAT", "MENU", "METAL", "METRO", "MILK", "MILL",
    "MIND", "MIX", "MOON", "MOTEL", "MUSIC", "NEW", "NEWS", "NIGHT", "NO", "NORTH", "NURSE", "OFF", "OIL", "ON",
    "OPEN", "ORDER", "OVEN", "PAINT", "PAPER", "PARK", "PASS", "PAY", "PHONE", "PIER", "PINK", "PIT", "PIZZA",
    "PLAY", "POINT", "POND", "POOL", "PORT", "POST", "PRESS", "PULL", "PUMP", "PUSH", "QUAY", "QUEUE", "QUICK",
    "QUIET", "RADIO", "RAIL", "RAMP", "RENT", "REST", "RICE", "RIGHT", "RING", "RIVER", "ROAD", "ROCK", "ROOF",
    "ROOM", "ROUTE", "SAFE", "SALE", "SALON", "SALT", "SAND", "SEA", "SEAT", "SELL", "SHIP", "SHOE", "SHOP", "SHOW",
    "SIDE", "SIGN", "SKI", "SLOW", "SMOKE", "SNACK", "SNOW", "SOAP", "SODA", "SOLD", "SOUP", "SOUTH", "SPA",
    "SPEED", "SPORT", "STAFF", "STAGE", "STAIR", "STAR", "START", "STATE", "STEEL", "STEP", "STONE", "STOP",
    "STORE", "SUGAR", "SUN", "SWIM", "TAXI", "TEA", "TEN", "TENT", "TEST", "TIRE", "TOLL", "TOOL", "TOW", "TOWER",
    "TOWN", "TOY", "TRACK", "TRAIN", "TRAM", "TRUCK", "TURN", "UNIT", "UP", "VALVE", "VAN", "VET", "VIEW", "VISIT",
    "VOTE", "WAIT", "WALK", "WALL", "WARD", "WARM", "WASH", "WATER", "WAX", "WAY", "WEST", "WET", "WIDE", "WIFI",
    "WIND", "WINE", "WOOD", "WORK", "YARD", "YIELD", "ZONE", "ZOO",
)
# fmt: on
